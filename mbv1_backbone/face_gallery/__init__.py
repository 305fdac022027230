"""Faces of photographs in a gallery: enrolment, search, contact sheets."""
