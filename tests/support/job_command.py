"""The command ``mbv1 detect-job`` with a network of NumPy's: what its worker does is its own."""

import sys

from mbv1_backbone.cli import detect_job
from mbv1_backbone.cli.main import main
from support.job_worker import detector


def opened(args):
    return detector(), dict(score_thr=args.score_thr, made_with={'model': args.model})


if __name__ == '__main__':
    detect_job.opened = opened
    sys.exit(main(sys.argv[1:]))
