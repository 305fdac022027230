from .errors import (
    DamagedFileError as DamagedFileError,
    InputError as InputError,
    LockedError as LockedError,
    Mbv1Error as Mbv1Error,
    NoSpaceError as NoSpaceError,
    NotInstalledError as NotInstalledError,
    user_errors as user_errors,
)
from .files import atomic_file as atomic_file, write_atomically as write_atomically, write_json as write_json
from .images import (
    as_image as as_image,
    find_images as find_images,
    middle_square as middle_square,
    read_image as read_image,
)
from .outputs import check_output_file as check_output_file, check_output_folder as check_output_folder
from .prefetch import batched as batched, map_concurrently as map_concurrently, prefetch as prefetch
