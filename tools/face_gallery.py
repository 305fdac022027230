"""``mbv1 gallery``, by the name that it has in a clone."""

import sys

from mbv1_backbone.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['gallery', *sys.argv[1:]]))
