"""Clients of the benchmark of a service: how many ask at once, and what they count."""

import asyncio

import pytest

from benchmarks.service import ask


def answering(clients, contents, status=b'200 OK'):
    """What clients see of a server that answers once all of them have asked, and what it has read."""
    sent = []

    async def run():
        waiting = []

        async def answer(reader, writer):
            try:
                while True:
                    lines = (await reader.readuntil(b'\r\n\r\n')).lower().split(b'\r\n')
                    [length] = [int(line[15:]) for line in lines if line.startswith(b'content-length')]
                    sent.append(await reader.readexactly(length))
                    waiting.append(writer)
                    if len(waiting) == clients:
                        for one in waiting:
                            one.write(b'HTTP/1.1 %b\r\ncontent-length: 2\r\n\r\n{}' % status)
                        waiting.clear()
            except asyncio.IncompleteReadError:
                writer.close()

        server = await asyncio.start_server(answer, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        try:
            url = f'http://127.0.0.1:{port}/v1/embed'
            return await asyncio.wait_for(ask(url, contents, clients), 20)
        finally:
            server.close()

    return asyncio.run(run()), sent


def test_all_clients_ask_at_once_and_every_image_is_sent():
    contents = [b'image %d' % number for number in range(12)]
    found, sent = answering(4, contents)  # which fails where fewer than four ask at once
    assert len(found.latencies) == 12
    assert found.rate > 0
    assert all(sum(content + b'\r\n' in body for body in sent) == 1 for content in contents)
    assert all(body.startswith(b'--b\r\n') and body.endswith(b'\r\n--b--\r\n') for body in sent)


def test_a_refusal_is_none_of_the_answers_that_count():
    with pytest.raises(RuntimeError, match='503'):
        answering(1, [b'image'], b'503 Service Unavailable')
