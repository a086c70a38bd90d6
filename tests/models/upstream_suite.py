"""
The common model tests of `transformers`, applied to ours. Copied beside them and run there (see
`test_layers_dual_encoder.py`), since the wheel does not ship them.
"""

import unittest

from tiny_models import FAMILIES, make_batch, make_config

from .test_configuration_common import ConfigTester
from .test_modeling_common import ModelTesterMixin


class Tester:
    """What the mixin asks for a configuration and a batch."""

    batch_size, seq_length, is_training = 3, 9, True

    def __init__(self, family):
        self.family = family

    def get_config(self):
        return make_config(self.family)

    def prepare_config_and_inputs_for_common(self):
        inputs = make_batch(self.batch_size, sequence_length=self.seq_length)
        return self.get_config(), inputs


class CommonTests(ModelTesterMixin):
    """`family` is set by the cases below."""

    family = ""
    _is_composite = True
    has_attentions = False
    additional_model_inputs = ["pixel_values"]

    def setUp(self):
        config_class, model_class, _ = FAMILIES[self.family]
        self.all_model_classes = (model_class,)
        self.model_tester = Tester(self.family)
        self.config_tester = ConfigTester(
            self, config_class=config_class, has_text_modality=False, common_properties=["projection_dim"]
        )

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        return inputs | {"return_loss": True} if return_labels else inputs

    def test_config(self):
        self.config_tester.run_common_tests()

    @unittest.skip("As for CLIP: the hidden states of the towers are not part of the output.")
    def test_hidden_states_output(self): ...

    @unittest.skip("As for CLIP: the hidden states of the towers are not part of the output.")
    def test_retain_grad_hidden_states_attentions(self): ...

    @unittest.skip("On purpose: renamed weights make a Trainer resume without the vision tower.")
    def test_reverse_loading_mapping(self): ...


def _features_are_tensors(self):
    raise unittest.SkipTest("Features are tensors here, and no outputs with hidden states.")


for _name in dir(CommonTests):
    if _name.startswith(("test_get_image_features", "test_get_text_features")):
        setattr(CommonTests, _name, _features_are_tensors)


class ConvirtTest(CommonTests, unittest.TestCase):
    family = "convirt"


class ConvirtVitTest(CommonTests, unittest.TestCase):
    family = "convirt-vit"


class CxrClipTest(CommonTests, unittest.TestCase):
    family = "cxr_clip"


class CxrClipSigmoidTest(CommonTests, unittest.TestCase):
    family = "cxr_clip-sigmoid"


class GloriaTest(CommonTests, unittest.TestCase):
    family = "gloria"


class MgcaTest(CommonTests, unittest.TestCase):
    family = "mgca"


class MgcaVitTest(CommonTests, unittest.TestCase):
    family = "mgca-vit"
