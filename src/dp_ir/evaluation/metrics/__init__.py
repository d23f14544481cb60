"""What is measured: metrics of single images, of several samples of an image, and of whole sets, with their protocols.

A metric takes tensors and gives numbers. It knows neither methods nor folders.
"""
