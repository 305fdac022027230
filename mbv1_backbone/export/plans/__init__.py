"""Networks as lists of operators, batch norms folded, for the formats whose files are written from them."""

__all__: list[str] = []
