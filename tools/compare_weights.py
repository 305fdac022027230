"""``mbv1 weights compare``, by the name that it has in a clone."""

import sys

from mbv1_backbone.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['weights', 'compare', *sys.argv[1:]]))
