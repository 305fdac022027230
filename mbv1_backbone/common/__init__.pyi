from .errors import InputError as InputError, command_line as command_line, user_errors as user_errors
from .files import atomic_file as atomic_file, write_atomically as write_atomically, write_json as write_json
from .images import (
    as_image as as_image,
    find_images as find_images,
    middle_square as middle_square,
    read_image as read_image,
)
from .prefetch import batched as batched, map_concurrently as map_concurrently, prefetch as prefetch
