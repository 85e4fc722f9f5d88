"""The solutions of the exercises, which stand nowhere else: no wheel and no notebook has them."""
