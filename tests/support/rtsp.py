"""A network camera that speaks RTSP (RFC 2326): H.264 over TCP, each NAL unit a packet (RFC 6184)."""

from __future__ import annotations

import base64
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction

import numpy as np
import pytest

_CLOCK = 90_000


def nal_units(images: Sequence[np.ndarray], fps: int) -> list[list[bytes]]:
    """The NAL units of each frame."""
    av = pytest.importorskip('av')
    codec = av.CodecContext.create('libx264', 'w')
    codec.height, codec.width = images[0].shape[:2]
    codec.pix_fmt, codec.time_base, codec.framerate = 'yuv420p', Fraction(1, fps), Fraction(fps)
    codec.options = {'preset': 'ultrafast', 'tune': 'zerolatency', 'g': '10'}
    frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24') for image in images]
    packets = [packet for frame in (*frames, None) for packet in codec.encode(frame)]
    return [
        [unit for unit in bytes(p).replace(b'\0\0\0\1', b'\0\0\1').split(b'\0\0\1') if unit] for p in packets
    ]


@contextmanager
def rtsp_camera(images: Sequence[np.ndarray], fps: int = 25, pause: float = 0.0) -> Iterator[str]:
    """Serve a film once to everyone who asks, and then say goodbye; its address.

    Args:
        images: RGB uint8 (H, W, 3).
        fps: Frames a second, as it says.
        pause: Seconds between two frames.
    """
    units = nal_units(images, fps)
    sets = [base64.b64encode(unit).decode() for unit in units[0] if unit[0] & 31 in (7, 8)]
    sdp = (
        'v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=film\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n'
        f'a=rtpmap:96 H264/{_CLOCK}\r\na=control:track0\r\n'
        f'a=fmtp:96 packetization-mode=1;sprop-parameter-sets={",".join(sets)}\r\n'
    )

    class Camera(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while method := self.rfile.readline().decode().partition(' ')[0].strip():
                fields = {}
                while line := self.rfile.readline().decode().strip():
                    name, _, value = line.partition(':')
                    fields[name.lower()] = value.strip()
                self.answer(method, fields)
                if method == 'PLAY':
                    with suppress(ConnectionError):  # who asked has gone
                        self.play()
                    return

        def answer(self, method: str, fields: dict[str, str]) -> None:
            body = sdp if method == 'DESCRIBE' else ''
            head = [f'CSeq: {fields.get("cseq", 0)}', 'Session: 1', f'Content-Length: {len(body)}']
            head += ['Content-Type: application/sdp'] if body else []
            head += ['Public: OPTIONS, DESCRIBE, SETUP, PLAY'] if method == 'OPTIONS' else []
            head += ['Transport: RTP/AVP/TCP;unicast;interleaved=0-1'] if method == 'SETUP' else []
            self.wfile.write(('\r\n'.join(['RTSP/1.0 200 OK', *head]) + f'\r\n\r\n{body}').encode())

        def play(self) -> None:
            sequence = 0
            for number, frame in enumerate(units):
                for unit in frame:
                    last = unit is frame[-1]
                    stamp = number * _CLOCK // fps
                    packet = struct.pack('>BBHII', 0x80, 96 | last << 7, sequence & 0xFFFF, stamp, 1) + unit
                    self.wfile.write(b'$\0' + struct.pack('>H', len(packet)) + packet)
                    sequence += 1
                stopped.wait(pause)

    stopped = threading.Event()
    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'rtsp://me:secret@127.0.0.1:{server.server_address[1]}/door'
        finally:
            stopped.set()
            server.shutdown()
