"""What the processor can do."""

from __future__ import annotations

from pathlib import Path


def bf16_is_fast() -> bool:
    """Whether this processor multiplies in bfloat16, and so does faster."""
    try:
        flags = Path('/proc/cpuinfo').read_text()
    except OSError:
        return False
    return 'avx512_bf16' in flags or 'amx_bf16' in flags
