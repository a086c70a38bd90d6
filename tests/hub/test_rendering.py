"""Templates are found, and what comes from outside stays a value."""

import pytest

from synthcxr.hub.rendering import render_template, template_path


def test_templates_are_found_and_named(root):
    assert template_path("pipeline_card.md.j2") == root / "hub_cards" / "pipeline_card.md.j2"
    with pytest.raises(ValueError, match=r"no card template 'space_card\.md\.j2'"):
        template_path("space_card.md.j2")


def test_a_value_that_is_missing_is_an_error_and_no_blank():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render_template("adapter_card.md.j2", title="Half a card")
