from .counting import Counter as Counter, Line as Line, Zone as Zone
from .frames import Frame as Frame, FrameSource as FrameSource
from .names import is_film as is_film
from .sources import open_source as open_source
from .tracks import Tracker as Tracker
from .writer import FilmWriter as FilmWriter
