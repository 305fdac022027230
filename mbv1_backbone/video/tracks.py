"""Boxes of one frame after the other joined to tracks by ByteTrack."""

from __future__ import annotations

import numpy as np

from mbv1_backbone.video.extra import needed

__all__ = ['LEAST_SCORE', 'LOST', 'Tracker']

LEAST_SCORE = 0.1  # of boxes that may go on with a track (ByteTrack, section 3)
LOST = 1.0  # seconds after which a track that is not seen any more has ended
_BEGINS = 0.1  # of score above ``score_thr``: what begins a track (the paper: .7 beside .6)
_HIGHEST = 0.99


class Tracker:
    """ByteTrack (https://arxiv.org/abs/2110.06864) as the package ``trackers`` has it.

    Boxes with a score of ``score_thr`` or more are joined to tracks by their overlap with where these are
    expected; then those below it to the tracks that are left. A track has a number from its second frame on.

    Args:
        fps: Frames a second that are given to it.
        score_thr: Least score of a box that counts by itself, 0..1.
        timed: Whether ``update`` is told the time of each frame, which lets these come unevenly.

    Raises:
        NotInstalledError: Without the extra ``[video]``.
    """

    def __init__(self, fps: float, score_thr: float = 0.3, timed: bool = False) -> None:
        self._detections = needed('supervision', 'tracks').Detections
        self._timed = timed
        self._tracker = needed('trackers', 'tracks').ByteTrackTracker(
            lost_track_buffer=round(30 * LOST),  # of 30 frames a second, whatever the rate is
            frame_rate=fps,
            track_activation_threshold=min(score_thr + _BEGINS, _HIGHEST),
            high_conf_det_threshold=min(score_thr, _HIGHEST),
        )

    def update(self, boxes: np.ndarray, scores: np.ndarray, seconds: float | None = None) -> np.ndarray:
        """Go on by a frame.

        Args:
            boxes: (N, 4), x1, y1, x2, y2 in pixels; N may be 0.
            scores: (N,), 0..1.
            seconds: Time of the frame, later than of the one before; of a tracker that is ``timed``.

        Returns:
            int64 (N,): the track of each box, from 0; -1 where it has none, or none yet.
        """
        given = self._detections(
            xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
            confidence=np.asarray(scores, np.float32),
            data={'place': np.arange(len(boxes))},
        )
        found = self._tracker.update(given, timestamp=seconds if self._timed else None)
        tracks = np.full(len(boxes), -1, np.int64)
        if len(found):
            tracks[found.data['place']] = found.tracker_id
        return tracks
