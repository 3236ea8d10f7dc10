"""References between settings."""

import pytest
from omegaconf import OmegaConf

from unimatch.cli.building import build
from unimatch.cli.references import place_of_value, refuse_unknown_references
from unimatch.errors import ConfigError

CONFIG = {
    "seed": 0,
    "recipe": {"tau": 0.95, "ema_decay": "${recipe.tau}", "scale": [0.5, "${seed}"]},
    "method": {
        "tau": "${recipe.tau}",
        "ema_decay": "${recipe.ema_decay}",
        "padding": "${oc.select:recipe.padding,4}",
        "resize": "${oc.select:recipe.tau,null}",
        "name": "a_${seed}",
        "hydra": "${hydra:runtime.cwd}",  # not known before the job begins
        "of_needed": "${method.needed}",
        "circle": "${method.circle}",
        "needed": "???",
        "own": 1,
    },
}


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("method.tau", "recipe.tau"),
        ("method.ema_decay", "recipe.tau"),  # by way of recipe.ema_decay
        ("method.padding", "method.padding"),  # there is no recipe.padding
        ("method.resize", "recipe.tau"),
        ("method.name", "method.name"),  # a text around it is no reference
        ("method.hydra", "method.hydra"),
        ("method.circle", "method.circle"),
        ("method.needed", "method.needed"),
        ("method.own", "method.own"),
        ("method.gone", "method.gone"),
        ("seed", "seed"),
    ],
)
def test_a_value_stands_where_its_references_end(key, place):
    assert place_of_value(OmegaConf.create(CONFIG), key) == place


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("method.tau=${recipe.tauu}", r"^method\.tau=\$\{recipe\.tauu\}: there is no key recipe\.tauu; did you mean"),
        ("recipe.scale=[0.5,'${recipe.high}']", r"^recipe\.scale\.1=\$\{recipe\.high\}: there is no key recipe\.high"),
        ("method.tau={inner: '${zzzz}'}", r"^method\.tau\.inner=\$\{zzzz\}: there is no key zzzz$"),
        ("method.tau=${oc.env:NO_SUCH}", r"^method\.tau=\$\{oc\.env:NO_SUCH\}: .*'NO_SUCH' not found.*; correct what"),
        ("method.tau=${nosuch:1}", r"^method\.tau=\$\{nosuch:1\}: Unsupported interpolation type nosuch; correct what"),
        ("method.name=a_${sed}", r"^method\.name=a_\$\{sed\}: there is no key sed; did you mean seed"),
    ],
)
def test_a_reference_to_an_unknown_key_is_refused_by_name(changed, message):
    config = OmegaConf.create({**CONFIG, "method": {**CONFIG["method"], "circle": None}})
    refuse_unknown_references(config)
    config.merge_with_dotlist([changed])
    with pytest.raises(ConfigError, match=message):
        refuse_unknown_references(config)


VIEW = {"_target_": "unimatch.augment.ScaledCrop", "flip": "${recipe.flip}", "scale": [0.5, 2]}


@pytest.mark.parametrize(
    ("recipe", "view", "message"),
    [
        ({"flip": "often"}, {}, r"^recipe\.flip=often: must be a number"),  # the wrong kind
        ({"flip": 2}, {}, r"^recipe\.flip=2: must be a probability"),  # refused by the class
        ({"flip": 0.5}, {"flip": 2}, r"^weak\.flip=2: must be a probability"),
        ({"flip": 0.5}, {"flop": "${recipe.flip}"}, r"^weak\.flop=0\.5: ScaledCrop has no such argument"),
    ],
)
def test_errors_name_the_key_where_a_wrong_value_stands(recipe, view, message):
    config = OmegaConf.create({"recipe": recipe, "weak": {**VIEW, **view}})
    with pytest.raises(ConfigError, match=message):
        build(config.weak)
