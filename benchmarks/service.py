"""What a service costs beside the library: clients that send an image each, against one call with all."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from benchmarks.timing import REST
from mbv1_backbone.inference.loading import load

BATCH = 16  # of mbv1 serve
_FORM = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n%b\r\n--b--\r\n'


@dataclass(frozen=True)
class Clients:
    """What some clients saw.

    Attributes:
        rate: Answers a second of all clients together.
        latencies: Seconds from each request to its answer.
    """

    rate: float
    latencies: list[float]


def measure(
    detector: str, embedder: str, files: Sequence[Path], clients: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Images a second of a service and of the library, from a file's bytes to the answer.

    The two take turns, so that other work on the machine hits both. The clients run on the same cores.

    Args:
        detector: Name in the zoo, or an exported file.
        embedder: Likewise; images are taken for faces.
        files: Images, each of them sent several times a round.
        clients: That ask at one time, each one image a request.
        rounds: Turns that count.

    Returns:
        By route: ``library`` and ``service`` (images a second, medians), ``ratio``, ``p50`` and ``p95``
        (milliseconds of a request), ``library_cpu`` and ``service_cpu`` (milliseconds of the processor an
        image, without the clients').
    """
    sent = [*files] * max(1, 4 * clients // len(files))
    of_objects = load(detector, kind='detector', mode='throughput')
    of_faces = load(embedder, kind='embedder', mode='throughput', finder=None)
    jobs: dict[str, Callable[[], Any]] = {
        '/v1/detect': lambda: of_objects.detect(sent, BATCH),
        '/v1/embed': lambda: of_faces.embed(sent, BATCH),
    }
    found: dict[str, dict[str, float]] = {}
    with serving('--detector', detector, '--model', embedder, '--face-detector', 'none') as (process, url):
        contents = [path.read_bytes() for path in sent]
        for route, job in jobs.items():
            found[route] = _compared(job, process, url + route, contents, clients, rounds)
    return found


def _compared(
    job: Callable[[], Any],
    process: int,
    url: str,
    contents: Sequence[bytes],
    clients: int,
    rounds: int,
) -> dict[str, float]:
    library: list[float] = []
    seen: list[Clients] = []
    used: list[tuple[float, float]] = []
    for number in tqdm(range(rounds + 1), unit='round', desc=url.rpartition('/')[2], leave=False):
        time.sleep(REST)
        begun, own = time.perf_counter(), time.process_time()
        job()
        rate, own = len(contents) / (time.perf_counter() - begun), time.process_time() - own
        time.sleep(REST)
        before = _cpu(process)
        asked = asyncio.run(ask(url, contents, clients))
        if number:
            library.append(rate)
            seen.append(asked)
            used.append((own, _cpu(process) - before))
    latencies = [1000 * one for round_ in seen for one in round_.latencies]
    cuts = statistics.quantiles(latencies, n=20)
    alone, served = statistics.median(library), statistics.median(one.rate for one in seen)
    cpu = [1000 * statistics.median(column) / len(contents) for column in zip(*used, strict=True)]
    return dict(
        library=alone,
        service=served,
        ratio=alone / served,
        p50=cuts[9],
        p95=cuts[18],
        library_cpu=cpu[0],
        service_cpu=cpu[1],
    )


def _cpu(process: int) -> float:
    """Seconds of the processor that a process has used (Linux)."""
    fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


async def ask(url: str, contents: Sequence[bytes], clients: int) -> Clients:
    """Send images, one a request, by some clients that each wait for an answer before they send the next.

    Args:
        url: Of a route that takes images.
        contents: Files.
        clients: Connections.

    Raises:
        RuntimeError: If an answer is not 200.
    """
    address = urlsplit(url)
    waiting = iter([_request(address.path, address.netloc, content) for content in contents])
    latencies: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            for request in waiting:
                begun = time.perf_counter()
                writer.write(request)
                head = await reader.readuntil(b'\r\n\r\n')
                lines = head.lower().split(b'\r\n')
                [length] = [int(line[15:]) for line in lines if line.startswith(b'content-length:')]
                body = await reader.readexactly(length)
                if b' 200 ' not in lines[0]:
                    raise RuntimeError(f'{url}: {head.decode()}{body.decode()}')
                latencies.append(time.perf_counter() - begun)
        finally:
            writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Clients(len(latencies) / (time.perf_counter() - begun), latencies)


def _request(path: str, host: str, content: bytes) -> bytes:
    body = _FORM % content
    head = (
        f'POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=b\r\n'
        f'Content-Length: {len(body)}\r\n\r\n'
    )
    return head.encode() + body


@contextmanager
def serving(*words: str) -> Iterator[tuple[int, str]]:
    """A service on a free port of this machine: its process' number, and its URL.

    Args:
        words: Of ``mbv1 serve``.

    Raises:
        RuntimeError: If it does not begin; what it says is on standard error.
    """
    program = [sys.executable, '-m', 'mbv1_backbone', 'serve', '--port', '0', *words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said.startswith('serving at '):
                raise RuntimeError(f'mbv1 serve {" ".join(words)} did not begin')
            yield process.pid, said.split()[-1]
        finally:
            process.terminate()
