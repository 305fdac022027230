from .enrolment import (
    FromParquet as FromParquet,
    enrol_parquet as enrol_parquet,
    parquet_files as parquet_files,
)
from .inputs import (
    Columns as Columns,
    Encoded as Encoded,
    Input as Input,
    list_inputs as list_inputs,
)
from .reading import read_images as read_images
from .tables import read_about as read_about
from .tasks import detect_images as detect_images, embed_images as embed_images
from .worker import Counts as Counts, JobCounter as JobCounter, work as work
