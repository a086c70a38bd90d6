"""
The common model tests of `transformers`, applied to ours. Copied beside them and run there (see
`test_layers_dual_encoder.py`), since the wheel does not ship them.
"""

import unittest

import torch
from tiny_models import FAMILIES, IMAGE_SIZE, make_batch, make_config, make_vision_config

from synthcxr.models import CxrClassificationConfig, CxrForImageClassification

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


class ClassifierTester:
    """The same for the classifier, which reads no text."""

    batch_size, seq_length, is_training = 3, 9, True
    labels = ["edema", "pleural_effusion", "left_pleural_effusion"]

    def __init__(self, vision):
        self.vision = vision

    def get_config(self):
        return CxrClassificationConfig.of_labels(self.labels, vision_config=make_vision_config(self.vision))

    def prepare_config_and_inputs_for_common(self):
        generator = torch.Generator().manual_seed(0)
        pixel_values = torch.randn(self.batch_size, 1, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        return self.get_config(), {"pixel_values": pixel_values}


class ClassifierTests(ModelTesterMixin):
    """`vision` is set by the cases below."""

    vision = ""
    all_model_classes = (CxrForImageClassification,)
    _is_composite = True
    has_attentions = False
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = ClassifierTester(self.vision)
        self.config_tester = ConfigTester(
            self, config_class=CxrClassificationConfig, has_text_modality=False, common_properties=["pooling"]
        )

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        shape = (self.model_tester.batch_size, len(self.model_tester.labels))
        return inputs | {"labels": torch.ones(shape)} if return_labels else inputs

    def test_config(self):
        self.config_tester.run_common_tests()

    @unittest.skip("As for CLIP: the hidden states of the towers are not part of the output.")
    def test_hidden_states_output(self): ...

    @unittest.skip("As for CLIP: the hidden states of the towers are not part of the output.")
    def test_retain_grad_hidden_states_attentions(self): ...

    @unittest.skip("On purpose: renamed weights make a Trainer resume without the vision tower.")
    def test_reverse_loading_mapping(self): ...

    @unittest.skip("There are no word embeddings.")
    def test_model_get_set_embeddings(self): ...


for _name in dir(ClassifierTests):
    if _name.startswith("test_get_image_features"):
        setattr(ClassifierTests, _name, _features_are_tensors)


class ClassifierResNetTest(ClassifierTests, unittest.TestCase):
    vision = "resnet"


def _no_checkpointing(self):
    raise unittest.SkipTest("The ResNet of transformers has no gradient checkpointing.")


for _name in dir(ClassifierResNetTest):
    if _name.startswith("test_") and "gradient_checkpointing" in _name:
        setattr(ClassifierResNetTest, _name, _no_checkpointing)


class ClassifierVitTest(ClassifierTests, unittest.TestCase):
    vision = "vit"
