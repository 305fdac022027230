"""Serve detection, embeddings and a gallery of faces over HTTP.

mbv1 serve --detector ssd_mbv1_0.75_tf_bccd
mbv1 serve --model facenet_mbv1_1.0-160_color --faces people
"""

from __future__ import annotations

import argparse
import os
import socket
import ssl
import sys
import webbrowser
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError, NotInstalledError

if TYPE_CHECKING:
    from mbv1_backbone.retrieval import GalleryLike
    from mbv1_backbone.server.service import Service

__all__ = ['add_arguments', 'open_page', 'run']

_LOOPBACK = ('127.0.0.1', '::1', 'localhost')
_LIMITS = {  # option -> attribute of Limits, its unit, help
    'max-body': ('body_bytes', 2**20, "megabytes of a request's body (default 32)"),
    'max-images': ('images', 1, 'images of a request (default 32)'),
    'max-pixels': ('image_pixels', 10**6, 'millions of an image (default 25)'),
    'max-all-pixels': ('pixels', 10**6, 'millions that are decoded at one time, 3 bytes each (default 200)'),
    'max-requests': ('requests', 1, 'requests at one time; more are refused (default 64)'),
    'max-queue': ('queue', 1, 'images or faces that wait for a network (default 256)'),
    'max-batch': ('batch', 1, 'images or faces that go through a network together (default 16)'),
    'max-seconds': ('seconds', 1, 'from a request to its answer (default 30)'),
}


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    models = parser.add_argument_group('what is served (one at least)')
    models.add_argument('--detector', metavar='NAME', help='of objects: name in the zoo or exported file')
    models.add_argument('--classifier', metavar='NAME', help='of images: likewise, or weights')
    models.add_argument('--model', metavar='NAME', help='embedder of faces: likewise')
    models.add_argument('--faces', metavar='GALLERY', help='folder or milvus://HOST:PORT/NAME, of --model')
    models.add_argument('--create', action='store_true', help='make the gallery where there is none')
    models.add_argument(
        '--face-detector',
        metavar='NAME',
        default='auto',
        help="as --detector of mbv1 faces embed (default auto: the gallery's own, else RetinaFace)",
    )
    models.add_argument('--backups', metavar='FOLDER', help='for copies of the gallery that clients ask for')
    models.add_argument(
        '--keep-thumbnails',
        action='store_true',
        help='keep a small picture of each enrolled face in the gallery (default: none)',
    )
    options.add_backend(parser)
    web = parser.add_argument_group('who reaches it')
    web.add_argument('--host', default='127.0.0.1', help='address to listen at (default: this machine alone)')
    web.add_argument('--port', type=int, default=8000, help='0 takes any that is free (default 8000)')
    web.add_argument(
        '--open', action='store_true', help='open the page in a browser, where there is a screen'
    )
    web.add_argument('--keys', metavar='FILE', help='of mbv1 serve-keys: clients need one of them')
    web.add_argument('--no-keys', action='store_true', help='whoever reaches --host may do everything')
    web.add_argument(
        '--allow-origin',
        metavar='ORIGIN',
        action='append',
        default=[],
        help='pages of another site that may ask from a browser, e.g. https://people.example.org; again for '
        'more (default: none)',
    )
    web.add_argument('--tls-cert', metavar='FILE', help='certificate, PEM')
    web.add_argument('--tls-key', metavar='FILE', help='its private key, PEM')
    limits = parser.add_argument_group('limits')
    for option, (_, _, text) in _LIMITS.items():
        limits.add_argument(f'--{option}', type=options.at_least(1), metavar='N', help=text)


def run(args: argparse.Namespace) -> None:
    """Serve until it is told to end; what is being worked on is finished."""
    _check(args)
    from mbv1_backbone.common.malloc import return_large_buffers

    return_large_buffers()  # before threads and networks take any
    try:
        import uvicorn

        from mbv1_backbone.server.app import create_app
        from mbv1_backbone.server.guarding import check_origins
    except ModuleNotFoundError as error:
        install = "pip install 'mbv1-backbone[server]'"
        raise NotInstalledError(f'mbv1 serve needs {error.name}: {install}', name=error.name) from error

    origins = check_origins(args.allow_origin)
    with closing(_listening(args.host, args.port)) as listening:
        service = _service(args)
        config = uvicorn.Config(
            create_app(service, _LOOPBACK if args.host in _LOOPBACK else None, origins),
            log_level='error',  # what is not HTTP is a warning: anybody could fill the log with them
            access_log=False,  # addresses may hold people's names
            server_header=False,
            proxy_headers=False,
            ws='none',
            http='h11',  # the strict one, of which requests' heads have a limit
            lifespan='on',
            ssl_certfile=args.tls_cert,
            ssl_keyfile=args.tls_key,
        )
        scheme, port = 'https' if args.tls_cert else 'http', listening.getsockname()[1]
        host = f'[{args.host}]' if ':' in args.host else args.host
        print(f'serving at {scheme}://{host}:{port}', flush=True)
        if args.open:
            open_page(f'{scheme}://{host}:{port}/')
        uvicorn.Server(config).run(sockets=[listening])


def _check(args: argparse.Namespace) -> None:
    """Check what can be checked before a network is loaded, or a gallery made.

    Raises:
        InputError: If options are missing, do not go together, or name what is not there.
    """
    if not (args.detector or args.classifier or args.model):
        raise InputError('nothing to serve: give --detector, --classifier or --model')
    if args.faces and not args.model:
        raise InputError('--faces needs --model, the embedder that the gallery was made with')
    if (args.create or args.backups or args.keep_thumbnails) and not args.faces:
        raise InputError('--create, --backups and --keep-thumbnails are about --faces')
    if not 0 <= args.port < 2**16:
        raise InputError(f'--port must lie in 0..65535, got {args.port}')
    if bool(args.tls_cert) != bool(args.tls_key):
        raise InputError('--tls-cert and --tls-key go together')
    if args.tls_cert:
        _check_tls(args)
    if args.keys and args.no_keys:
        raise InputError('--keys and --no-keys: give one of them')
    if args.backups and not Path(args.backups).is_dir():
        raise InputError(f'--backups {args.backups}: no such folder')
    if args.host not in _LOOPBACK and not (args.keys or args.no_keys):
        raise InputError(
            f'--host {args.host} lets other machines in: give --keys FILE (mbv1 serve-keys), or --no-keys to '
            'let everybody do everything'
        )


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens already: what connects before the networks are loaded waits.

    Raises:
        InputError: If the address is none of this machine's, or taken.
    """
    try:
        [family, *_, address] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f'--host {host} --port {port}: {getattr(error, "strerror", None) or error}'
        ) from error


def open_page(url: str) -> bool:
    """Open the page in a browser of this screen, and say whether there is one; none of a terminal."""
    has_screen = os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    if sys.platform.startswith('linux') and not has_screen:
        return False
    return webbrowser.open(url)


def _check_tls(args: argparse.Namespace) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(args.tls_cert, args.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(f'--tls-cert {args.tls_cert}: {error.strerror or error}') from error


def _service(args: argparse.Namespace) -> Service:
    from mbv1_backbone.cli.networks import open_network
    from mbv1_backbone.server.keys import KeyFile
    from mbv1_backbone.server.limits import Limits
    from mbv1_backbone.server.service import Service

    given = {
        attribute: value * unit
        for option, (attribute, unit, _) in _LIMITS.items()
        if (value := getattr(args, option.replace('-', '_'))) is not None
    }
    limits = Limits(**given)
    keys = KeyFile(args.keys) if args.keys else None
    detector = open_network(args, args.detector, None, 'detector') if args.detector else None
    classifier = open_network(args, args.classifier, None, 'classifier') if args.classifier else None
    with ExitStack() as opened:
        embedder, gallery = None, None
        if args.model:
            embedder, gallery = _faces(args, opened)
        names = dict(detector=args.detector, classifier=args.classifier, embedder=args.model)
        service = Service(
            detector,
            classifier,
            embedder,
            gallery,
            {role: name for role, name in names.items() if name},
            limits,
            keys,
            args.backups,
            args.keep_thumbnails,
        )
        opened.pop_all()  # the service closes it
    return service


def _faces(args: argparse.Namespace, opened: ExitStack):  # type: ignore[no-untyped-def]
    """The embedder, and the gallery, which ``opened`` closes."""
    from mbv1_backbone.cli.gallery.embedders import check_embedder, made_with, note_made_with, open_embedder
    from mbv1_backbone.retrieval import create_gallery, open_gallery
    from mbv1_backbone.retrieval.places import gallery_exists

    mine = argparse.Namespace(
        **{
            **vars(args),
            'detector': args.face_detector,
            'detector_option': '--face-detector',
            'policy': 'all',
            'checkpoint': None,
        }
    )
    gallery: GalleryLike | None = None
    if args.faces and (gallery_exists(args.faces) or not args.create):
        gallery = opened.enter_context(open_gallery(args.faces))
    embedder = open_embedder(mine, gallery)
    if gallery is not None:
        check_embedder(gallery, embedder)
        if not gallery.read_only:
            note_made_with(gallery, mine, embedder)
    elif args.faces:
        made = create_gallery(
            args.faces,
            embedder.dims,
            embedder.fingerprint,
            embedder.preprocessing,
            made_with=made_with(mine, embedder),
        )
        gallery = opened.enter_context(made)
    return embedder, gallery
