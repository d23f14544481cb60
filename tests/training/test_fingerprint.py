import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dp_ir.errors import DataError
from dp_ir.training.data import is_held_out
from dp_ir.training.fingerprint import SAME_IMAGE, Fingerprint, known_images, matching_test_image
from dp_ir.training.recipe import DataRecipe
from dp_ir.training.store import named_images, open_store


def test_split_of_the_shipped_weights_follows_its_rule_and_shares_no_image_with_the_tests() -> None:
    training, tests = known_images("training-images"), known_images("test-images")
    assert len(training) > 300
    assert {known.split for known in tests} >= {"Set5", "Set14", "CBSD68", "Kodak24"}
    for known in training:
        held_out = is_held_out(known.name, DataRecipe.validation_fraction)
        assert known.split == ("validation" if held_out else "train"), known.name
        assert matching_test_image(known.fingerprint, tests) is None, known.name


def test_fingerprint_survives_compression_and_resizing_and_tells_images_apart(photos: Path) -> None:
    images = [Image.open(file).convert("RGB") for file in sorted(photos.iterdir())]
    prints = [Fingerprint.of(np.asarray(image, dtype=np.float32)) for image in images]
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        again = Fingerprint.of(np.asarray(Image.open(buffer), dtype=np.float32) / 255)
        assert again.distance(prints[number]) <= SAME_IMAGE
        assert all(prints[number].distance(other) > SAME_IMAGE for i, other in enumerate(prints) if i != number)


def test_fingerprint_in_numbers() -> None:
    brightening = np.broadcast_to(np.arange(34.0)[None, :, None], (32, 34, 3))
    assert Fingerprint.of(brightening).bits == 2**256 - 1
    assert Fingerprint.of(brightening[:, ::-1]).bits == 0
    assert Fingerprint.of(brightening).distance(Fingerprint.of(brightening[:, ::-1])) == 256
    assert Fingerprint.of(np.ones((1, 1, 3))).bits == 0


def test_training_on_a_test_image_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dp_ir.training import store as store_module
    from dp_ir.training.fingerprint import KnownImage

    pixels = np.asarray(Image.open(photos / "photo_03.png"), dtype=np.float32)
    known = [KnownImage("famous.png", Fingerprint.of(pixels), "Famous12")]
    monkeypatch.setattr(store_module, "known_images", lambda table: known)
    with pytest.raises(DataError, match=r"photo_03\.png \(is the image famous\.png of the test set Famous12"):
        open_store(photos, tmp_path / "cache", named_images(photos))
    assert not list((tmp_path / "cache").iterdir())
