import pytest
import torch
from torch import nn

from helpers.support import rest_nightly
from unimatch import ClassificationModel, SegmentationModel
from unimatch.errors import ConfigError
from unimatch.models import build_encoder
from unimatch.models.encoder_base import Encoder
from unimatch.models.image_sizes import find_image_sizes

MULTIPLES = {
    "mobilenetv3_small_050": 1,
    "fastvit_t8": 1,
    "tresnet_m": 32,
    "convmixer_768_32": 7,
    "edgenext_xx_small": 32,
    "hrnet_w18_small": 32,
    "dla34": 32,
    "twins_pcpvt_small": 32,
    "twins_svt_small": 32,
    "vgg11_bn": 32,
    "densenet121": 32,
    "inception_next_atto": 32,
    "mobilevitv2_050": 64,
    "maxvit_tiny_tf_224": 224,
    "maxvit_rmlp_pico_rw_256": 256,
}
FIXED = ["cait_xxs24_224", "hiera_tiny_224", "gcvit_xxtiny", "volo_d1_224", "coat_tiny", "efficientformer_l1"]


@pytest.mark.parametrize("name", rest_nightly(MULTIPLES, ["mobilenetv3_small_050", "edgenext_xx_small"]))
def test_the_multiple_of_an_encoder_is_found_and_its_features_cover_the_image(name):
    model = SegmentationModel(name, 2, weights=None)
    multiple = model.size_multiple
    assert multiple == MULTIPLES[name]
    assert not model.encoder.fixed_size
    assert all(module.training for module in model.modules())
    k = max(1, 64 // multiple)
    for height, width in [(k + 1, k), (k, k + 3), (k + 4, k + 1)][: 1 if multiple > 64 else 3]:
        images = torch.randn(2, 3, height * multiple, width * multiple)
        levels = model.encode(images)
        for level, stride in zip(levels, model.encoder.strides, strict=True):
            assert level.shape[-2:] == (-(-images.shape[-2] // stride), -(-images.shape[-1] // stride))
        model.decode(levels).sum().backward()
    if multiple > 1:
        assert f"image sides in multiples of {multiple}" in model.summary()
        with pytest.raises(ValueError, match=f"multiples of the patch size {multiple}"):
            model(torch.zeros(1, 3, 2 * multiple + 1, 2 * multiple))


@pytest.mark.parametrize("name", rest_nightly(FIXED, FIXED[:1]))
def test_an_encoder_of_one_size_says_so_at_any_other(name):
    model = SegmentationModel(name, 2, weights=None).eval()
    assert "images of 224 x 224 only" in model.summary()
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 2, 224, 224)
    for size in ((224, 448), (448, 448), (112, 112), (96, 100)):
        with pytest.raises(ConfigError, match=r"only takes images of 224 x 224 pixels.*inference.mode=sliding"):
            model(torch.zeros(1, 3, *size))


def test_a_classifier_sees_the_size_that_its_encoder_takes():
    model = ClassificationModel("cait_xxs24_224", 2, weights=None, image_size=32)
    assert (model.image_size, model.size_multiple) == (224, 224)


def test_fastvit_is_never_computed_with_channels_last():
    """With them PyTorch's backward pass on a CPU damages memory: no test can rely on the process dying of it."""
    model, seen = SegmentationModel("fastvit_t8", 2, weights=None), []
    model.encoder.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    model.encoder.body.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    model.encode(torch.zeros(1, 3, 64, 64).contiguous(memory_format=torch.channels_last))
    assert seen
    assert all(seen)
    assert all(parameter.is_contiguous() for parameter in model.encoder.parameters())


@pytest.mark.nightly
@pytest.mark.parametrize("size", [64, 80, 96, 128])
def test_fastvit_trains_on_a_cpu(size):
    model = SegmentationModel("fastvit_t8", 2, weights=None)  # channels last, the process dies
    for _ in range(3):
        model(torch.randn(2, 3, size, size)).sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


class Made(Encoder):
    """One level of stride 4, for images whose sides a function allows; shorter where it does not cover them."""

    widths, strides, size_multiple = (3,), (4,), 1

    def __init__(self, allowed, *, padding=0):
        super().__init__()
        self.allowed = allowed
        self.conv = nn.Conv2d(3, 3, 4, 4, padding)
        self.pretrained_cfg = {"input_size": (3, 96, 96)}
        self.tried = []

    @property
    def body(self):
        return self

    def forward(self, images):
        size = tuple(images.shape[-2:])
        self.tried.append(size)
        if not self.allowed(*size):
            raise RuntimeError(f"{size} do not go")
        return [self.conv(images)] * 2


@pytest.mark.parametrize(
    ("allowed", "multiple", "fixed"),
    [
        (lambda h, w: True, 4, False),  # by its features, which do not cover 65 pixels
        (lambda h, w: h % 8 == w % 8 == 0, 8, False),
        (lambda h, w: h % 96 == w % 96 == 0, 96, False),
        (lambda h, w: h == w == 96, 96, True),
    ],
)
def test_the_smallest_multiple_that_works_is_taken(allowed, multiple, fixed):
    encoder = Made(allowed)
    encoder.strides = (4, 4)
    find_image_sizes(encoder, "made")
    assert (encoder.size_multiple, encoder.fixed_size) == (multiple, fixed)
    assert encoder.training


def test_an_encoder_that_works_at_no_size_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"encoder=made: takes images of no size that was tried \(65 x 64: .* do not"):
        find_image_sizes(Made(lambda h, w: False), "made")


def test_presets_and_models_without_memory_are_not_tried(monkeypatch):
    monkeypatch.setattr("unimatch.models.encoders.find_image_sizes", None)  # calling it fails
    assert build_encoder("efficientnet_lite0", None).size_multiple == 1
    encoder = Made(lambda h, w: False).to("meta")
    find_image_sizes(encoder, "made")
    assert encoder.tried == []
