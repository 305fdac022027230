"""Former names, until 0.2: ``mbv1_backbone.load`` has taken over from ``mbv1_backbone.deploy.loading``."""

__all__: list[str] = []
