"""Whether the service of this container answers, at the address that it was told to listen at.

python -m mbv1_backbone.cli.serve_health
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from mbv1_backbone.cli.main import build_parser

__all__ = ['health_url', 'is_healthy', 'main']

_ALL = {'0.0.0.0': '127.0.0.1', '::': '::1', '': '127.0.0.1'}  # addresses that stand for all of a machine's
_COMMAND = Path('/proc/1/cmdline')


def health_url(command: Sequence[str]) -> str:
    """Where a service says how it is.

    Args:
        command: That runs it: ``mbv1 serve`` with its options, and maybe others before that.

    Raises:
        ValueError: If it is another command.
        InputError: If its options are not those of ``mbv1 serve``.
    """
    words = list(command)
    args = build_parser().parse_args(words[words.index('serve') :])
    scheme, host = 'https' if args.tls_cert else 'http', _ALL.get(args.host, args.host)
    return f'{scheme}://{f"[{host}]" if ":" in host else host}:{args.port}/v1/health'


def is_healthy(url: str, seconds: float = 4) -> bool:
    """Whether a service answers there that it is; which names its certificate has does not matter.

    Args:
        url: Of its health.
        seconds: That it has for that.
    """
    context = ssl.create_default_context()
    context.check_hostname = False  # it is for the names that clients call the service by
    context.verify_mode = ssl.CERT_NONE
    try:
        with build_opener(ProxyHandler({}), HTTPSHandler(context=context)).open(
            url, timeout=seconds
        ) as answer:
            return answer.status == 200
    except OSError:  # URLError and HTTPError are
        return False


def main(command: Path = _COMMAND) -> int:
    """The exit code that Docker asks for: 0 if the first process of this container is a healthy service."""
    words = command.read_bytes().decode('utf-8', 'surrogateescape').split('\0')[:-1]
    return 0 if is_healthy(health_url(words)) else 1


if __name__ == '__main__':
    sys.exit(main())
