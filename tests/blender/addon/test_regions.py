"""Objects' own prompts and kinds: what jobs have of them, whose they are, and that they stay with the object."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest
from scumble_shared.errors import ScumbleError
from scumble_shared.job import Control, GenerateJob, Label, Lora, Region, tensors_of, with_tensors
from scumble_shared.messages import Capabilities
from scumble_shared.validate import validate_job

MODULE = "bl_ext.user_default.scumble"
OFFER = Capabilities()


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def scene(extension, empty_scene):
    """A camera that looks along y."""
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0.0, -10.0, 0.0), (np.pi / 2, 0.0, 0.0)
    empty_scene.collection.objects.link(camera)
    empty_scene.camera = camera
    empty_scene.scumble.width = empty_scene.scumble.height = 64
    empty_scene.scumble.lock_seed = True
    empty_scene.scumble.source = "CAMERA"
    return empty_scene


@pytest.fixture
def add(scene):
    """A cube somewhere, with a prompt."""

    def added(name, x=0.0, prompt="", **region):
        bpy.ops.mesh.primitive_cube_add(size=1.5, location=(x, 0.0, 0.0))
        thing = bpy.context.object
        thing.name = thing.data.name = name
        for field, value in {"prompt": prompt, **region}.items():
            setattr(thing.scumble_region, field, value)
        return thing

    return added


@pytest.fixture
def asked(part, scene):
    """The request that would be sent now."""
    return lambda **overrides: part("request").generation(bpy.context, OFFER, **overrides)


def where(request, region: Region) -> np.ndarray:
    """Columns in which the region is seen."""
    ids = request.tensors[request.job.view.object_id]
    return np.nonzero(np.isin(ids, region.objects))[1]


class TestPrompts:
    def test_without_any_a_job_is_as_ever(self, add, asked):
        add("Left", -2.0)
        request = asked()
        assert request.job.regions == ()
        assert request.job.view.labels == ()
        assert request.target.note == ""

    def test_each_is_where_its_object_is_seen(self, add, asked):
        add("Left", -2.0, "gold")
        add("Right", 2.0, "moss", weight=0.5)
        request = asked()
        gold, moss = request.job.regions
        assert (gold.prompt, moss.prompt) == ("gold", "moss")
        assert (gold.weight, moss.weight) == (pytest.approx(0.9), 0.5)
        assert where(request, gold).max() < 32 < where(request, moss).min()

    def test_objects_of_one_prompt_are_one_region(self, add, asked):
        add("Left", -2.0, "gold")
        add("Right", 2.0, "gold")
        (region,) = asked().job.regions
        assert len(region.objects) == 2

    def test_one_that_is_off_or_says_nothing_or_has_no_weight_is_none(self, add, asked):
        add("Left", -3.0, "gold", enabled=False)
        add("Middle", 0.0, "  ")
        add("Right", 3.0, "moss", weight=0.0)
        assert asked().job.regions == ()

    def test_one_that_is_not_seen_is_told_and_left_out(self, add, asked, scene):
        add("Left", -2.0, "gold")
        add("Behind", 100.0, "moss")
        request = asked()
        assert [region.prompt for region in request.job.regions] == ["gold"]
        assert request.target.note == "Behind isn't in the picture, so its prompt changes nothing"
        add("Hidden", 2.0, "rust").hide_render = True
        assert asked().target.note == "Behind, Hidden aren't in the picture; their prompts change nothing"

    def test_the_note_is_the_jobs(self, add, asked, part):
        add("Left", -2.0)
        add("Behind", 100.0, "moss")
        request, session = asked(), part("state").session()
        record = session.submit(request.job, request.tensors, request.target)
        assert record.note.startswith("Behind isn't in the picture")
        session.cancel(record.id)

    def test_instances_say_what_they_look_like(self, add, asked, scene):
        thing = add("Leaf", 0.0, "green leaf")
        collection = bpy.data.collections.new("Leaves")
        collection.objects.link(thing)
        scene.collection.objects.unlink(thing)
        for name, x, prompt in (("Summer", -2.0, ""), ("Autumn", 2.0, "red leaf")):
            empty = bpy.data.objects.new(name, None)
            empty.instance_type, empty.instance_collection = "COLLECTION", collection
            empty.location.x, empty.scumble_region.prompt = x, prompt
            scene.collection.objects.link(empty)
        request = asked()
        found = {region.prompt: where(request, region) for region in request.job.regions}
        assert set(found) == {"green leaf", "red leaf"}
        assert found["green leaf"].max() < 32 < found["red leaf"].min()
        assert request.target.note == ""

    def test_styles_choices_and_loras_are_as_in_the_prompt(self, add, asked, part, tmp_path):
        add("Left", -2.0, "{gold|gold} <lora:ink:0.5> <lora:ink:0.5>")
        words, scene = part("words"), bpy.context.scene
        words.preferences().styles_file = str(tmp_path / "styles.csv")
        (tmp_path / "styles.csv").write_text(
            'name,prompt,negative_prompt\nfilm,"{prompt}, on film",\n', encoding="utf-8"
        )
        words.set_names(scene, ["film"])
        try:
            job = asked().job
        finally:
            words.preferences().styles_file = ""
            words.set_names(scene, [])
        assert job.regions[0].prompt == "gold, on film"
        assert job.loras == (Lora("ink", 0.5),)

    def test_scripts_may_say_it_themselves(self, add, asked):
        add("Left", -2.0, "gold")
        assert asked(regions=()).job.regions == ()

    def test_too_many_are_refused_with_a_way_out(self, add, asked):
        for number in range(17):
            add(f"Cube {number}", number * 0.3 - 2.5, f"colour {number}").scale = (0.1, 0.1, 0.1)
        with pytest.raises(ScumbleError) as caught:
            validate_job(replace_size(asked().job))
        assert caught.value.info.field == "job.regions"
        assert "same one" in caught.value.info.remedy.label


def replace_size(job: GenerateJob) -> GenerateJob:
    """With content addresses in the place of stand-ins, as the network thread puts them."""
    return with_tensors(job, {name: f"{number:064x}" for number, name in enumerate(tensors_of(job))})


class TestKinds:
    def segmented(self, scene):
        scene.scumble.controls.add().kind = "segmentation"

    def labels(self, request) -> dict[int, str]:
        return {label.object_id: label.kind for label in request.job.view.labels}

    def test_they_are_sent_to_those_who_look_at_them(self, add, asked, scene):
        add("Oak Table", -2.0)
        assert asked().job.view.labels == ()
        self.segmented(scene)
        (label,) = asked().job.view.labels
        assert label.kind == "table"
        validate_job(replace_size(asked().job))

    def test_what_is_said_counts_before_what_names_tell(self, add, asked, scene):
        self.segmented(scene)
        thing = add("Oak Table", kind="couch")
        assert set(self.labels(asked()).values()) == {"sofa"}
        thing.scumble_region.kind = "gibberish"
        assert set(self.labels(asked()).values()) == {"table"}

    def test_names_of_materials_and_collections_tell_too(self, add, asked, scene):
        self.segmented(scene)
        cube, other = add("Cube", -2.0), add("Cube", 2.0)
        cube.data.materials.append(bpy.data.materials.new("Fresh Grass"))
        rocks = bpy.data.collections.new("Rocks")
        rocks.objects.link(other)
        assert sorted(self.labels(asked()).values()) == ["grass", "rock"]

    def test_what_nobody_can_tell_has_no_label(self, add, asked, scene):
        self.segmented(scene)
        add("Cube", -2.0)
        assert asked().job.view.labels == ()

    def test_of_control_images(self, add, part, scene):
        self.segmented(scene)
        add("Chair")
        made = part("request").control_images(bpy.context, OFFER)
        assert [label.kind for label in made.job.view.labels] == ["chair"]
        assert isinstance(made.job.view.labels[0], Label)

    def test_the_search_field_finds_what_people_call_things(self, part):
        search = part("regions.properties")._kinds
        assert next(iter(search(None, None, "couch"))) == "sofa"
        assert len(search(None, None, "")) == 150


class TestLive:
    def test_a_changed_prompt_is_another_picture(self, add, part, scene):
        thing = add("Left", -2.0)
        key = part("live.watch").settings_key
        before = key(scene)
        assert key(scene) == before
        thing.scumble_region.prompt = "gold"
        assert key(scene) != before
        before = key(scene)
        thing.scumble_region.weight = 0.4
        assert key(scene) != before

    def test_ids_are_sent_where_prompts_need_them(self, add, asked, part, scene):
        control = scene.scumble.controls.add()
        control.kind = "depth"
        thing = add("Left", -2.0)
        spared = part("live.frames")._spared
        assert set(spared(asked().job)) == {"normal", "object_id"}
        thing.scumble_region.prompt = "gold"
        assert set(spared(asked().job)) == {"normal"}


class TestTextures:
    @pytest.fixture
    def draft(self, part, scene):
        return lambda *things, **overrides: part("texture_all.drafts").around(bpy.context, OFFER, things, **overrides)

    def test_each_mesh_has_its_own(self, add, draft):
        left, middle, right = add("Left", -2.0), add("Chair", 0.0, "gold"), add("Right", 2.0, "moss", weight=1.0)
        job = draft(left, middle, right).job
        ids = {mesh.name: mesh.object_id for mesh in job.meshes}
        assert job.regions == (
            Region("gold", (ids["Chair"],), weight=pytest.approx(0.9)),
            Region("moss", (ids["Right"],)),
        )
        assert {mesh.kind for mesh in job.meshes} == {""}

    def test_what_they_are_goes_to_segmentation(self, add, draft):
        job = draft(add("Left", -2.0), add("Chair", 0.0), controls=(Control("segmentation"),)).job
        assert {mesh.name: mesh.kind for mesh in job.meshes} == {"Left": "", "Chair": "chair"}

    def test_what_is_not_textured_has_no_say(self, add, draft):
        add("Right", 2.0, "moss")
        assert draft(add("Left", -2.0)).job.regions == ()

    def test_again_it_is_the_recipes_for_those_that_are_left(self, add, draft, part):
        left, right = add("Left", -2.0, "gold"), add("Right", 2.0, "moss")
        job = draft(left, right).job
        part("texture_all.recipe").keep([left, right], [mesh.matrix_world for mesh in job.meshes], job, [], [1.0, 1.0])
        right.scumble_region.prompt = "rust"
        renumbered = part("texture_all.drafts")._renumbered
        read = part("texture_all.recipe").read
        assert [(one.prompt, one.objects) for one in renumbered(read(right))] == [("gold", (1,)), ("moss", (2,))]
        bpy.data.objects.remove(left)
        assert [(one.prompt, one.objects) for one in renumbered(read(right))] == [("moss", (1,))]


class TestKept:
    def test_with_the_file_and_in_libraries(self, add, scene, part, tmp_path):
        add("Chair", 0.0, "gold", weight=0.3, kind="throne room")
        path = str(tmp_path / "chair.blend")
        bpy.data.libraries.write(path, {bpy.data.objects["Chair"]})
        bpy.data.objects.remove(bpy.data.objects["Chair"])
        with bpy.data.libraries.load(path, link=True) as (theirs, ours):
            ours.objects = theirs.objects
        (linked,) = ours.objects
        scene.collection.objects.link(linked)
        assert (linked.scumble_region.prompt, linked.scumble_region.kind) == ("gold", "throne room")
        made = part("request").generation(bpy.context, OFFER)
        assert [region.prompt for region in made.job.regions] == ["gold"]
        override = linked.override_create(remap_local_usages=True)
        override.scumble_region.prompt = "silver"
        made = part("request").generation(bpy.context, OFFER)
        assert [region.prompt for region in made.job.regions] == ["silver"]

    def test_undo_takes_it_back(self, add, scene):
        add("Chair")
        bpy.ops.ed.undo_push(message="Before")
        bpy.data.objects["Chair"].scumble_region.prompt = "gold"
        bpy.ops.ed.undo_push(message="Prompt")
        bpy.ops.scumble.region_remove(object_name="Chair")
        bpy.ops.ed.undo_push(message="Removed")
        bpy.ops.ed.undo()
        assert bpy.data.objects["Chair"].scumble_region.prompt == "gold"
        bpy.ops.ed.undo()
        assert bpy.data.objects["Chair"].scumble_region.prompt == ""

    def test_copies_take_it_along(self, add, scene):
        copy = add("Chair", 0.0, "gold").copy()
        assert copy.scumble_region.prompt == "gold"


class TestOperators:
    def test_a_prompt_is_taken_away(self, add):
        thing = add("Chair", 0.0, "gold")
        assert bpy.ops.scumble.region_remove(object_name="Chair") == {"FINISHED"}
        assert thing.scumble_region.prompt == ""

    def test_copied_to_the_selected(self, add):
        first, second, active = add("A"), add("B"), add("C", 0.0, "gold", weight=0.2, kind="chair")
        bpy.ops.object.select_all(action="SELECT")
        bpy.context.view_layer.objects.active = active
        assert bpy.ops.scumble.region_copy() == {"FINISHED"}
        for thing in (first, second):
            assert (thing.scumble_region.prompt, thing.scumble_region.kind) == ("gold", "chair")
            assert thing.scumble_region.weight == pytest.approx(0.2)

    def test_guesses_are_written_down_where_nothing_is_said(self, add):
        chair, table, cube = add("Chair"), add("Table", kind="desk"), add("Cube")
        bpy.ops.object.select_all(action="SELECT")
        assert bpy.ops.scumble.region_guess() == {"FINISHED"}
        assert [thing.scumble_region.kind for thing in (chair, table, cube)] == ["chair", "desk", ""]

    def test_one_is_selected(self, add):
        first, second = add("A"), add("B")
        assert bpy.ops.scumble.region_select(object_name="A") == {"FINISHED"}
        assert bpy.context.object == first
        assert not second.select_get()
