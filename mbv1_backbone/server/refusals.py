"""What a service answers where it does not do what was asked: one line, in one form of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException

from mbv1_backbone.common.errors import (
    DamagedFileError,
    InputError,
    LockedError,
    Mbv1Error,
    NoSpaceError,
    NotInstalledError,
    UnavailableError,
    one_line,
)
from mbv1_backbone.common.files import shown

__all__ = ['RETRY_AFTER', 'Refused', 'overloaded', 'refused_by']

RETRY_AFTER = 1  # seconds
_INSTEAD = {  # what the library advises, to clients
    'merge_identities (mbv1 gallery merge-people)': 'POST /v1/faces/merge',
}
_KINDS: tuple[tuple[type[Mbv1Error], int, str], ...] = (  # the first that fits
    (DamagedFileError, 500, 'damaged'),
    (InputError, 422, 'invalid'),
    (LockedError, 503, 'locked'),
    (UnavailableError, 503, 'unavailable'),
    (NoSpaceError, 507, 'no_space'),
    (NotInstalledError, 501, 'not_installed'),
)


class Refused(HTTPException):
    """A request that is not done.

    Args:
        status: Of HTTP.
        code: One word that programs can tell it by.
        message: One line: the field or value, and the rule.
        field: Which part of the request, where it is one.
        failures: Why each image of the request cannot be used, where none can.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        failures: Sequence[Any] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.field = field
        self.failures = failures

    def as_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        field = None if self.field is None else shown(self.field)
        error: dict[str, Any] = dict(code=self.code, message=shown(self.detail), field=field)
        error['failures'] = [failure.model_dump() for failure in self.failures]
        return dict(error=error)


def overloaded(reason: str) -> Refused:
    """More than can be done at present; asking again later may help."""
    return Refused(503, 'overloaded', f'{reason}; try again later', headers={'Retry-After': str(RETRY_AFTER)})


def refused_by(error: Mbv1Error, place: str | None = None) -> Refused:
    """What an error of the library is to a client.

    Args:
        error: Of the library.
        place: Of the gallery on the server, which a client is not told.
    """
    status, code = next(((s, c) for kind, s, c in _KINDS if isinstance(error, kind)), (500, 'failed'))
    message = one_line(error)
    for advice, route in _INSTEAD.items():
        message = message.replace(advice, route)
    if place:
        message = message.replace(place, 'the gallery')
    headers = {'Retry-After': str(RETRY_AFTER)} if status == 503 else None
    return Refused(status, code, message, headers=headers)
