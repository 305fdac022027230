"""``mbv1 convert voc``, by the name that it has in a clone."""

import sys

from mbv1_backbone.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['convert', 'voc', *sys.argv[1:]]))
