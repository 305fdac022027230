"""The command line ``mbv1``: one file a verb, each parses, calls and prints.

The modules import nothing that needs torch at their top, so that ``--help`` answers at once; what a verb
needs is imported in its ``run``.
"""
