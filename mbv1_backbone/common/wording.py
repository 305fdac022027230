"""Words of messages."""

from __future__ import annotations

__all__ = ['amount']


def amount(count: int, noun: str) -> str:
    """How many there are of something.

    Args:
        count: Of them.
        noun: For one; more have an s at its end.

    Example:
        >>> amount(1, 'photograph'), amount(2, 'photograph')
        ('1 photograph', '2 photographs')
    """
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'
