"""What is compared: anything that makes an image of an observation, and how a text names it.

Here belong bundles, restorers, other samplers with the same networks, and the outputs of other programs.
"""
