"""``mbv1 publish``, by the name that it has in a clone."""

import sys

from mbv1_backbone.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['publish', *sys.argv[1:]]))
