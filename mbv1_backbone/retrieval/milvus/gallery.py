"""A gallery on Milvus: what ``Gallery`` promises, but for what docs/milvus.md says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

from mbv1_backbone.common.errors import InputError, Mbv1Error, UnavailableError
from mbv1_backbone.retrieval.checks import check_names, check_text
from mbv1_backbone.retrieval.milvus.fields import ENTRY, entry_of, row_of, vector_of
from mbv1_backbone.retrieval.milvus.opening import create_collection, drop_collection
from mbv1_backbone.retrieval.milvus.writing import WritableMilvus, parts
from mbv1_backbone.retrieval.provenance import described
from mbv1_backbone.retrieval.unnamed import check_given_name, is_group

__all__ = ['MilvusGallery']

_COUNTED = 100_000  # entries up to which stats counts the people, which reads all names


class MilvusGallery(WritableMilvus):
    """An open gallery on Milvus. May be used by several threads; others may read and write beside it.

    What is changed is changed in batches: after an error those that were acknowledged stay.

    Example:
        >>> gallery = MilvusGallery('milvus://localhost:19530/people')  # doctest: +SKIP
        >>> gallery.search(probes, k=5, threshold=0.4)[0]  # doctest: +SKIP
        [Match(id=7, identity='Ada', file='ada/1.jpg', score=0.83, distance=0.34)]
    """

    @classmethod
    def create(
        cls,
        place: str,
        dim: int,
        model: str,
        preprocessing: Mapping[str, Any] | None = None,
        index: str | None = None,
        timeout: float = 10.0,
        made_with: Mapping[str, Any] | None = None,
    ) -> MilvusGallery:
        """Make an empty gallery, a new collection; after an error it is not there.

        Args:
            place: ``milvus://HOST:PORT/NAME``.
            dim: Values in an embedding.
            model: Fingerprint of the model that makes the embeddings; no other is let in later.
            preprocessing: How its images are prepared; likewise.
            index: Of the vectors: ``AUTOINDEX`` (None), ``FLAT``, ``HNSW`` or ``DISKANN``.
            timeout: Seconds to wait for the server.
            made_with: What people call the model (``model``) and other parts.

        Raises:
            InputError: If there is a collection of that name, or a value is wrong.
            UnavailableError: If the server does not answer.
        """
        if preprocessing is not None and not isinstance(preprocessing, Mapping):
            raise InputError(f'preprocessing must be a dict, got {preprocessing!r:.60}')
        tied = dict(model=model, preprocessing=dict(preprocessing or {}), dim=dim, metric='cosine')
        create_collection(place, tied, 'AUTOINDEX' if index is None else index, timeout, made_with)
        try:
            return cls(place, timeout)
        except BaseException:
            with suppress(Mbv1Error):
                drop_collection(place, timeout)
            raise

    def stats(self) -> dict[str, Any]:
        """Counts and index, for people; up to 100,000 entries the people are counted, too."""
        entries = len(self)
        return dict(
            entries=entries,
            identities=len(self.identities()) if entries <= _COUNTED else None,
            dim=self.dim,
            model=self.model,
            made_with=described(self._tied, self.made_with),
            preprocessing=self._tied['preprocessing'],
            factory=self._index,
            server=self._server.version,
        )

    # --- people

    def rename(self, identity: str, new: str) -> int:
        """Give a person, or a group, another name, 500 entries in a request.

        Returns:
            How many entries the person has.

        Raises:
            InputError: If there is no such person, the new name is like an automatic one, or somebody has it.
        """
        check_given_name(new)
        self._check_writable('rename')
        self._check_there([identity])
        if new != identity and self.images_of([new]):
            raise InputError(
                f'{self.place}: there is a {new!r:.60} already: merge_identities '
                '(mbv1 gallery merge-people) makes the two one'
            )
        return self._name([identity], new)

    def merge_identities(self, identities: Sequence[str], into: str) -> int:
        """Make several names one person's, 500 entries in a request.

        Args:
            identities: The names that go.
            into: The name that stays; it may be one of them, or new.

        Returns:
            How many entries have got the name.

        Raises:
            InputError: If one of the people is not there, or two of them are in one photograph.
        """
        names = [name for name in dict.fromkeys(check_names(identities)) if name != into]
        self._check_writable('merge identities')
        self._check_there(names)
        if not (is_group(check_text(into, 'identity')) and self.images_of([into])):
            check_given_name(into)
        self._check_apart(names, into)
        return self._name(names, into)

    def _check_there(self, names: Sequence[str]) -> None:
        there = self.images_of(names)
        if missing := [name for name in names if name not in there]:
            raise InputError(f'{self.place}: there is no {missing[0]!r:.60}')

    def _check_apart(self, names: Sequence[str], into: str) -> None:
        """Check that no two faces of one photograph would get one name."""
        chosen = {*names, into}
        for part in parts([entry.sha256 for entry in self.entries(names)]):
            for faces in self.faces(part).values():
                boxed = [one for one in faces if one.box is not None and one.identity in chosen]
                if len({one.identity for one in boxed}) > 1:
                    one, other = boxed[0], next(two for two in boxed if two.identity != boxed[0].identity)
                    raise InputError(
                        f'{one.file}: entries {one.id} ({one.identity:.60}) and {other.id} '
                        f'({other.identity:.60}) are two faces of this photograph, so they are two people'
                    )

    def _name(self, names: Sequence[str], new: str) -> int:
        """Give entries of some people a name; how many they are."""
        ids = self.ids(identity=list(names)).tolist() if names else []
        done = 0
        for part in parts(ids):
            try:
                done += self._name_some(part, new)
            except (InputError, UnavailableError) as error:
                if not done:
                    raise
                raise type(error)(
                    f'{error}; {done} of {len(ids)} entries have the name {new!r:.60} already: '
                    'merge_identities (mbv1 gallery merge-people) gives it to the others'
                ) from error
        return done

    def _name_some(self, ids: Sequence[int], new: str) -> int:
        rows = self._server.some(ids, [*ENTRY, 'vector'])
        renamed = [row_of(replace(entry_of(row, self.place), identity=new), vector_of(row)) for row in rows]
        if renamed:
            self._server.ask('upsert', data=renamed)
        return len(renamed)

    # --- upkeep

    def bulk(self) -> nullcontext[None]:
        """Nothing to put off: the server keeps its index."""
        return nullcontext()

    def optimize(self) -> None:
        """Nothing to do: the server keeps its index."""

    def integrity_problems(self) -> list[str]:
        """What is wrong with the collection, one line each: the server checks what it stores."""
        try:
            self._read_tied()
        except InputError as error:
            return [str(error)]
        return []

    def index_problems(self) -> list[str]:
        """None that could be seen from here: the index is the server's."""
        return []

    def indexed(self) -> int:
        """Vectors that can be found: all, since those that are not indexed yet are compared one by one."""
        return len(self)

    def __enter__(self) -> MilvusGallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
