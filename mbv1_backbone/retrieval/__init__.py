"""Face retrieval: galleries to search, change and trust. Imports numpy, FAISS and SQLite, never torch."""

from mbv1_backbone.retrieval.gallery import Added, Gallery
from mbv1_backbone.retrieval.index import choose_factory
from mbv1_backbone.retrieval.records import Entry, IdentityMatch, Match

__all__ = ['Added', 'Entry', 'Gallery', 'IdentityMatch', 'Match', 'choose_factory']
