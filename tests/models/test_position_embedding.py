import pytest
import timm
import torch

from helpers.slow_models import slow_bicubic, slow_positions
from unimatch.errors import ConfigError
from unimatch.models import SegmentationModel, build_encoder
from unimatch.models.position_embedding import resize_positions

SMALL = {"depth": 4, "embed_dim": 12, "num_heads": 2, "img_size": 70}  # a table of 5 x 5


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def randomise(encoder):
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source(len(parameter))))
    return encoder.eval()


@pytest.mark.parametrize("grid", [(4, 4), (6, 3), (1, 9), (5, 6), (19, 25)])
@pytest.mark.parametrize("table", [(5, 5), (6, 4)])
def test_the_published_rule_equals_loops(table, grid):
    positions = torch.randn(*table, 3, generator=source(), dtype=torch.double)
    expected = slow_positions(positions, grid)
    assert expected.shape == (*grid, 3)
    found = resize_positions(positions[None].float(), grid)[0]
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    # The offset matters.
    plain = slow_bicubic(positions, grid, [n / old for n, old in zip(grid, table, strict=True)])
    assert grid == table or (expected - plain).abs().max() > 1e-3


def test_the_published_rule_at_the_grids_of_the_benchmarks():
    positions = torch.randn(37, 37, 2, generator=source(), dtype=torch.double)
    for grid in [(57, 57), (18, 18), (19, 25), (36, 38)]:
        found = resize_positions(positions[None].float(), grid)[0]
        torch.testing.assert_close(found.double(), slow_positions(positions, grid), atol=2e-5, rtol=1e-5)


def test_the_own_grid_is_left_as_it_is():
    positions = torch.randn(1, 37, 37, 4, generator=source())
    assert resize_positions(positions, (37, 37)) is positions


@pytest.mark.parametrize(("name", "registers"), [("vits", 0), ("vits_reg", 4)])
@pytest.mark.parametrize("grid", [(5, 5), (4, 7), (5, 4)])
def test_tokens_are_patches_plus_resized_positions_behind_the_class_token(name, registers, grid):
    encoder = randomise(build_encoder(name, None, position_embedding="dinov2", options=SMALL))
    body = encoder.body
    patches = torch.randn(2, *grid, 12, generator=source(1))
    tokens = body._pos_embed(patches)
    assert tokens.shape == (2, 1 + registers + grid[0] * grid[1], 12)
    table = body.pos_embed[0] if registers else body.pos_embed[0, 1:]
    expected = patches + slow_positions(table.view(5, 5, 12), grid)
    torch.testing.assert_close(tokens[:, 1 + registers :], expected.flatten(1, 2), atol=1e-5, rtol=1e-5)
    # timm's weights with registers have the class token's position added already.
    prefix = torch.cat([body.cls_token, body.reg_token], 1) if registers else body.cls_token + body.pos_embed[:, :1]
    torch.testing.assert_close(tokens[:, : 1 + registers], prefix.expand(2, -1, -1))


@pytest.mark.parametrize("name", ["vits", "vits_reg"])
def test_the_rules_agree_at_the_own_grid_and_only_there(name):
    images = torch.randn(1, 3, 70, 70, generator=source())
    ours = randomise(build_encoder(name, None, position_embedding="dinov2", options=SMALL))
    timms = randomise(build_encoder(name, None, position_embedding="timm", options=SMALL))
    with torch.no_grad():
        for a, b in zip(ours(images), timms(images), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(ours(images[..., :56])[0], timms(images[..., :56])[0], atol=1e-2)


def test_timms_rule_is_timms():
    encoder = randomise(build_encoder("vits", None, position_embedding="timm", options=SMALL))
    body = randomise(timm.create_model("vit_small_patch14_dinov2", dynamic_img_size=True, num_classes=0, **SMALL))
    images = torch.randn(1, 3, 84, 56, generator=source())
    with torch.no_grad():
        last = body.forward_intermediates(images, indices=[3], norm=True, intermediates_only=True)[0]
        assert torch.equal(encoder(images)[3], last)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("vits", "dinov2"), ("vits_reg", "timm"), ("vit_small_patch16_224", "timm"), ("tiny", None), ("resnet18", None)],
)
def test_the_default_is_the_rule_the_weights_were_made_with(name, rule):
    with torch.device("meta"):
        model = SegmentationModel(name, 3, weights=None)
    assert model.encoder.position_embedding == rule
    assert model.description()["position_embedding"] == rule


def test_the_rule_is_kept_in_the_description():
    for rule in ("dinov2", "timm"):
        model = SegmentationModel("vits", 3, weights=None, position_embedding=rule, options=SMALL)
        again = SegmentationModel(**model.description(), weights=None)
        assert again.encoder.position_embedding == rule
        assert type(again.encoder.body) is type(model.encoder.body)


@pytest.mark.parametrize("name", ["tiny", "resnet18", "beit_b"])
def test_a_rule_for_what_has_no_such_embedding_is_refused(name):
    with torch.device("meta"), pytest.raises(ConfigError, match="position_embedding"):
        build_encoder(name, None, position_embedding="dinov2")


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match=r"position_embedding=nearest: must be one of dinov2, timm"):
        build_encoder("vits", None, position_embedding="nearest", options=SMALL)


BEIT = {"depth": 4, "embed_dim": 12, "num_heads": 2, "img_size": 64}  # tables for 4 x 4


def test_beit_at_its_own_size_is_timms():
    encoder = randomise(build_encoder("beit_b", None, options=BEIT))
    body = randomise(timm.create_model("beit_base_patch16_384", num_classes=0, global_pool="avg", **BEIT))
    images = torch.randn(1, 3, 64, 64, generator=source())
    with torch.no_grad():
        expected = body.forward_intermediates(images, indices=[0, 1, 2, 3], intermediates_only=True)
        for a, b in zip(encoder(images), expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (6, 2)])
def test_beits_bias_between_two_patches_is_that_of_their_offset_in_the_resized_table(grid):
    encoder = randomise(build_encoder("beit_b", None, options=BEIT))
    with torch.no_grad():
        encoder(torch.randn(1, 3, 16 * grid[0], 16 * grid[1], generator=source()))
        attention = encoder.body.blocks[1].attn
        bias = attention._get_rel_pos_bias()[0]  # (heads, 1 + h w, 1 + h w)
    table = attention.relative_position_bias_table.detach()
    size = [2 * n - 1 for n in grid]
    offsets = slow_bicubic(table[:-3].view(7, 7, 2), size, [n / 7 for n in size])
    cells = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    assert bias.shape == (2, 1 + len(cells), 1 + len(cells))
    for i, (y, x) in enumerate(cells, 1):
        for j, (v, u) in enumerate(cells, 1):
            expected = offsets[y - v + grid[0] - 1, x - u + grid[1] - 1]
            torch.testing.assert_close(bias[:, i, j], expected, atol=1e-4, rtol=1e-4)
    # The class token's three: to patches, from patches, to itself.
    torch.testing.assert_close(bias[:, 0, 1:], table[-3, :, None].expand(-1, len(cells)))
    torch.testing.assert_close(bias[:, 1:, 0], table[-2, :, None].expand(-1, len(cells)))
    torch.testing.assert_close(bias[:, 0, 0], table[-1])
