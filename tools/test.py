"""``mbv1 test``, by the name that it has in a clone."""

import sys

from mbv1_backbone.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
