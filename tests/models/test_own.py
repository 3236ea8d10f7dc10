"""Models, encoders and decoders of one's own: in training, and in checkpoints."""

import copy
import sys

import lightning
import pytest
import torch
from torch import nn

import unimatch
from unimatch import ConfigError, SegmentationModel, UniMatchV2, WeightsError, load_model, register_model
from unimatch.checkpoints.content import write
from unimatch.models import ClassificationModel, Encoder, ModuleEncoder
from unimatch.models.descriptions import check_logits, describe_model
from unimatch.models.own import ALLOWED, REGISTERED

SMALL = {"features": 8, "out_channels": (8, 8, 8, 8)}


class Pyramid(nn.Module):
    """Maps of strides 2, 4, 8, 16 and 32, as a list or in another form."""

    def __init__(self, form=list, strides=(2, 4, 8, 16, 32), channels=3):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels, 4 + i, stride, stride) for i, stride in enumerate(strides))
        self.norm, self.form = nn.BatchNorm2d(4), form

    def forward(self, images):
        first, *others = (layer(images) for layer in self.layers)
        return self.form([self.norm(first), *others])


class Backbone(nn.Module):
    """As Hugging Face's: patches of 14, four equal maps as an attribute."""

    def __init__(self, maps=4):
        super().__init__()
        self.patches, self.maps = nn.Conv2d(3, 6, 14, 14), maps

    def forward(self, images):
        return type("Output", (), {"feature_maps": (self.patches(images),) * self.maps})()


class Negated(SegmentationModel):
    """The same weights, other logits."""

    def decode(self, levels, **options):
        return -super().decode(levels, **options)


class Head(nn.Module):
    """A decoder of the finest level."""

    def __init__(self, width, classes):
        super().__init__()
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, levels):
        return self.last(levels[0])


def saved(path, model):
    """A file with what load_model reads of a checkpoint: the teacher is another model than the student."""
    method = UniMatchV2(model)
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.add_(0.01)
    checkpoint = {"state_dict": method.state_dict()}
    write(checkpoint, describe_model(model))
    torch.save(checkpoint, path)
    return method.teacher.model


def assert_same_logits(model, other, **tolerance):
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model.eval()(images), other.eval()(images), **tolerance)


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    before = dict(REGISTERED)
    yield
    REGISTERED.clear()
    REGISTERED.update(before)


def test_a_subclass_is_never_taken_for_the_class_above_it(tmp_path):
    teacher = saved(tmp_path / "a.ckpt", Negated("tiny", 3, **SMALL))
    with pytest.raises(WeightsError, match=r"your own, .*Negated: register it .* load_model\(path, model=\.\.\.\)"):
        load_model(tmp_path / "a.ckpt")
    assert_same_logits(load_model(tmp_path / "a.ckpt", model=Negated("tiny", 3, **SMALL)), teacher)
    register_model(Negated)
    assert_same_logits(load_model(tmp_path / "a.ckpt"), teacher)
    folded = unimatch.Predictor(tmp_path / "a.ckpt", device="cpu").engine.model
    assert_same_logits(folded, teacher, rtol=0, atol=0.02 * float(teacher(torch.randn(1, 3, 64, 64)).std()))


def test_an_import_path_is_followed_only_into_allowed_packages(tmp_path, monkeypatch):
    package = tmp_path / "street_nets"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from unimatch import SegmentationModel\n"
        "class Net(SegmentationModel): pass\n"
        "def other(**options): raise OSError\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from street_nets import Net

    teacher = saved(tmp_path / "a.ckpt", Net("tiny", 3, **SMALL))
    for name in ("street_nets", "street_nets.other"):
        sys.modules.pop("street_nets", None)
        checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
        if name == "street_nets.other":  # no model: not called
            checkpoint["unimatch_model"]["own"]["name"] = name
            monkeypatch.setenv(ALLOWED, "street_nets")
        torch.save(checkpoint, tmp_path / "b.ckpt")
        with pytest.raises(WeightsError, match="register it"):
            load_model(tmp_path / "b.ckpt")
        assert ("street_nets" in sys.modules) == (name == "street_nets.other")
    monkeypatch.setenv(ALLOWED, "another, street_nets")
    assert_same_logits(load_model(tmp_path / "a.ckpt"), teacher)
    monkeypatch.setenv(ALLOWED, "street")  # a name that only begins so
    with pytest.raises(WeightsError, match="register it"):
        load_model(tmp_path / "a.ckpt")


def test_a_registered_function_builds_a_model_with_an_encoder_of_its_own(tmp_path):
    @register_model
    def street_net(classes, *, form=None):
        return SegmentationModel(Pyramid(), classes, **SMALL)

    teacher = saved(tmp_path / "a.ckpt", street_net(5))
    assert_same_logits(load_model(tmp_path / "a.ckpt"), teacher)
    saved(tmp_path / "b.ckpt", street_net(5, form=object()))
    with pytest.raises(WeightsError, match=r"street_net, was made from more than plain values: .*model="):
        load_model(tmp_path / "b.ckpt")


REPLACED = {
    "layer": lambda model: model.decoder.classify.__setitem__(1, nn.GELU()),
    "setting": lambda model: setattr(model.encoder.stages[0][0], "dilation", (2, 2)),
    "encoder": lambda model: setattr(model, "encoder", ModuleEncoder(Pyramid())),
}


@pytest.mark.parametrize("change", [*REPLACED])
def test_replaced_parts_are_noticed(change, tmp_path):
    model = SegmentationModel("tiny", 3, **SMALL)
    assert "own" not in describe_model(model)
    REPLACED[change](model)
    saved(tmp_path / "a.ckpt", model)
    with pytest.raises(WeightsError, match="parts of your own"):
        load_model(tmp_path / "a.ckpt")


def test_what_is_done_for_speed_is_no_replaced_part():
    from unimatch.speed.apply import speed_up

    model = SegmentationModel("vit_tiny_patch16_224", 3, weights=None, lora=2, **SMALL)
    speed_up(model, torch.device("cpu"))
    assert "own" not in describe_model(model)
    assert "own" not in describe_model(nn.SyncBatchNorm.convert_sync_batchnorm(SegmentationModel("tiny", 3)))


@pytest.mark.parametrize("form", [list, tuple, lambda maps: dict(enumerate(maps))])
def test_an_encoder_is_any_module_that_gives_maps(form):
    body = Pyramid(form)
    before = copy.deepcopy(body.state_dict())
    encoder = ModuleEncoder(body)
    assert (encoder.widths, encoder.strides, encoder.size_multiple) == ((5, 6, 7, 8), (4, 8, 16, 32), 32)
    assert body.norm.training
    assert all(torch.equal(value, before[key]) for key, value in body.state_dict().items())
    assert encoder(torch.zeros(1, 3, 64, 96))[0].shape == (1, 5, 16, 24)


def test_a_backbone_of_patches_and_a_classifier_of_one():
    model = SegmentationModel(Backbone(), 3, **SMALL)
    assert (model.encoder.strides, model.size_multiple) == ((14,) * 4, 14)
    assert model(torch.zeros(1, 3, 28, 42)).shape == (1, 3, 28, 42)
    assert ClassificationModel(Pyramid(), 3)(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    assert "Backbone: blocks" not in model.summary()


def test_libraries_encoders_fit():
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = SegmentationModel(smp.encoders.get_encoder("resnet18", weights=None), 3, **SMALL)
    assert model.encoder.widths == (64, 128, 256, 512)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


class NotCovering(Pyramid):
    def forward(self, images):
        return super().forward(images[..., :-64])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Backbone(maps=1), r"must give four feature maps .* out_features="),
        (Pyramid(strides=(32, 16, 8, 4)), "do not cover the image, fine to coarse"),
        (NotCovering(), "do not cover the image"),
        (nn.Conv2d(3, 3, 1), "must give feature maps as a list, this one gives a Tensor"),
        (nn.Conv2d(4, 3, 1), "cannot be run on an image"),
    ],
)
def test_other_modules_are_refused_at_once(module, message):
    with pytest.raises(ConfigError, match=message):
        SegmentationModel(module, 3)


def test_settings_that_a_module_brings_itself_are_refused():
    with pytest.raises(ConfigError, match="brings its own weights"):
        SegmentationModel(Pyramid(), 3, weights="pretrained")
    with pytest.raises(ConfigError, match="leave out features"):
        SegmentationModel("tiny", 3, decoder=Head(48, 3), features=8)
    with pytest.raises(ConfigError, match="width of its classifier"):
        UniMatchV2(SegmentationModel("tiny", 3, decoder=Head(48, 3)), dropout_at="classifier")


def test_a_decoder_of_its_own_trains_and_its_checkpoint_loads(tmp_path):
    method = UniMatchV2(SegmentationModel("tiny", 11, decoder=Head(48, 11)), learning_rate=1e-3)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", limit_val_batches=0, **quiet)
    data = unimatch.data.digits(labeled=4, train=8, val=1, size=48)
    trainer.fit(method, unimatch.SemiSupervisedDataModule(data, crop=32, batch_size=2, workers=0))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = load_model(tmp_path / "a.ckpt", model=SegmentationModel("tiny", 11, decoder=Head(48, 11)))
    assert_same_logits(again, method.teacher.model)
    model = SegmentationModel("tiny", 11, decoder=Head(48, 11))
    loaded = UniMatchV2.load_from_checkpoint(tmp_path / "a.ckpt", model=model)
    assert_same_logits(loaded.teacher.model, method.teacher.model)


def test_logits_that_no_loss_takes_are_refused_when_training_starts():
    model = SegmentationModel("tiny", 3, decoder=Head(48, 5))
    with pytest.raises(ConfigError, match=r"logits of \(2, 5, 16, 16\), not of \(2, 3, h, w\)"):
        check_logits(model)
    method = UniMatchV2(model)
    with pytest.raises(ConfigError, match=r"not of \(2, 3, h, w\)"):
        method.setup("fit")


class TwoArguments(nn.Module):
    def forward(self, levels, skips):
        return levels[0]


class Pair(Head):
    def forward(self, levels):
        return super().forward(levels), levels


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (TwoArguments(), r"cannot be run on images of \(2, 3, 64, 64\) \(TypeError: .*skips.*encoder's levels alone"),
        (Head(47, 3), r"cannot be run on images of \(2, 3, 64, 64\) \(RuntimeError: "),
        (Pair(48, 3), "must give logits as one tensor, this one gives a tuple"),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused_in_one_message_when_training_starts(decoder, message):
    for model in (SegmentationModel("tiny", 3, decoder=decoder), SegmentationModel("tiny", 3)):
        model.decoder = decoder  # also one that took the place of ours
        with pytest.raises(ConfigError, match=message):
            UniMatchV2(model).setup("fit")


def test_a_module_may_see_other_bands():
    bands = {"bands": [1, 2, 3, 4, 5], "mean": [0.5] * 5, "std": [0.2] * 5}
    model = SegmentationModel(Pyramid(channels=5), 3, bands=bands, **SMALL)
    check_logits(model)
    assert model(torch.zeros(1, 5, 64, 32)).shape == (1, 3, 64, 32)
    with pytest.raises(ConfigError, match=r"Pyramid: cannot be run on an image of 5 x 224 x 224 .*RuntimeError: Given"):
        SegmentationModel(Pyramid(), 3, bands=bands, **SMALL)


def test_an_encoder_class_is_used_as_it_is():
    class Mine(Encoder):
        widths, strides, size_multiple = (5,) * 4, (8,) * 4, 8

        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 5, 8, 8)

        def forward(self, images):
            return [self.body(images)] * 4

    encoder = Mine()
    assert SegmentationModel(encoder, 3, **SMALL).encoder is encoder
