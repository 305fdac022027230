"""``mbv1 faces embed``, by the name that it has in a clone."""

import sys

from mbv1_backbone.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['faces', 'embed', *sys.argv[1:]]))
