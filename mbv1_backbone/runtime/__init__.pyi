from .sessions import Session as Session, open_session as open_session
from .spec import ModelSpec as ModelSpec
