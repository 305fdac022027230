"""The field's measures of face recognition: metrics, protocols, splits, reports."""
