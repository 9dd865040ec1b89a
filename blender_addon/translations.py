"""The panel in other languages. English is the key, as everywhere in Blender."""

from __future__ import annotations

import bpy

from .identity import PACKAGE

__all__ = ["register", "unregister"]

GERMAN = {
    "Prompt": "Beschreibung",
    "Negative prompt": "Was nicht zu sehen sein soll",
    "Negative": "Ohne",
    "Model": "Modell",
    "Source": "Quelle",
    "Generate": "Erzeugen",
    "Controls": "Vorgaben",
    "Add Control": "Vorgabe hinzufügen",
    "Remove Control": "Vorgabe entfernen",
    "Preview Controls": "Vorgaben ansehen",
    "Default Controls": "Übliche Vorgaben",
    "Strength": "Stärke",
    "Sampler": "Verfahren",
    "Quality": "Qualität",
    "Exact": "Genau",
    "Balanced": "Ausgewogen",
    "Guidance": "Prompttreue",
    "Lock Seed": "Startwert festhalten",
    "Batch": "Anzahl",
    "Result": "Ergebnis",
    "When Finished": "Wenn fertig",
    "Show as Overlay": "Über der Ansicht zeigen",
    "Hide Overlay": "Nicht mehr zeigen",
    "Keep as Image": "Als Bild behalten",
    "Camera Image": "Kamerabild",
    "Texture from View": "Textur aus Ansicht",
    "Texture Size": "Texturgröße",
    "Angle Falloff": "Winkelabfall",
    "Use Its Settings": "Einstellungen übernehmen",
    "Texture All Around": "Rundum texturieren",
    "Texture of the Object": "Textur des Objekts",
    "Texture Again": "Noch einmal texturieren",
    "Bake Again": "Noch einmal backen",
    "Regenerate This View": "Diese Ansicht neu",
    "Preview Views": "Ansichten zeigen",
    "Hide Views": "Ansichten nicht mehr zeigen",
    "Views": "Ansichten",
    "All Around": "Rundum",
    "Current View": "Jetzige Ansicht",
    "Projection": "Projektion",
    "Method": "Weise",
    "Together": "Zusammen",
    "One by One": "Nacheinander",
    "Agree Until": "Einig bis",
    "Unseen": "Ungesehenes",
    "Keep": "Behalten",
    "Keep Mask": "Maske fürs Behalten",
    "Name Sides": "Seiten nennen",
    "Prompts of Views": "Beschreibungen der Ansichten",
    "Add Cameras": "Kameras hinzufügen",
    "Looking round": "Sieht sich um",
    "Already looking round": "Sieht sich schon um",
    "Texture the active object all around first": "Zuerst das aktive Objekt rundum texturieren",
    "Make Maps": "Maps erstellen",
    "Maps": "Maps",
    "Estimator": "Schätzer",
    "Color Depth": "Farbtiefe",
    "Coverage": "Abdeckung",
    "Extra Views": "Weitere Ansichten",
    "Refine": "Ausarbeiten",
    "Refine Size": "Größe beim Ausarbeiten",
    "Remove Camera": "Kamera entfernen",
    "Perspective": "Perspektivisch",
    "Orthographic": "Orthografisch",
    "Cameras": "Kameras",
    "Fill": "Füllen",
    "Lock": "Festhalten",
    "Side": "Seite",
    "Preview Views lists them": "„Ansichten zeigen“ führt sie auf",
    "What no view sees takes on the colours around it": "Was keine Ansicht sieht, nimmt die Farben ringsum an",
    "What no view sees keeps its look": "Was keine Ansicht sieht, bleibt, wie es ist",
    "Unwrap into a New Map": "In eine neue UV-Map abwickeln",
    "New Seed": "Neuer Startwert",
    "Live": "Live",
    "Start Live": "Live beginnen",
    "Stop Live": "Live beenden",
    "Target Rate": "Zielrate",
    "Refine at Rest": "In Ruhe ausarbeiten",
    "Noise": "Rauschen",
    "On Surfaces": "Auf Oberflächen",
    "Only Objects": "Nur Objekte",
    "Opacity": "Deckkraft",
    "Wipe": "Wischen",
    "Display": "Anzeige",
    "Keep as Texture": "Als Textur behalten",
    "Live hasn't painted anything yet": "Live hat noch nichts gemalt",
    "Not connected": "Nicht verbunden",
    "Connecting": "Verbindet",
    "Connected": "Verbunden",
    "Starting the server": "Server startet",
    "Connection lost, trying again": "Verbindung verloren, neuer Versuch",
    "Write a prompt first": "Zuerst eine Beschreibung eingeben",
    "Generate a picture first": "Zuerst ein Bild erzeugen",
    "Select the objects to texture": "Die Objekte auswählen, die eine Textur bekommen",
    "Start Server": "Server starten",
    "Try Again": "Noch einmal",
    "Add a UV Map": "UV-Map hinzufügen",
    "Reduce Size": "Verkleinern",
    "Choose Model": "Modell wählen",
    "Server": "Server",
    "Address": "Adresse",
    "Server Program": "Server-Programm",
    "Start by Itself": "Von selbst starten",
    "Already Running": "Läuft schon",
    "Address and Token": "Adresse und Token",
}


def _dictionary() -> dict[str, dict[tuple[str, str], str]]:
    """Buttons are looked up in Blender's context for operators, all else in the general one."""
    entries = {("*", english): german for english, german in GERMAN.items()}
    entries.update({("Operator", english): german for english, german in GERMAN.items()})
    return {"de_DE": entries, "de": entries}


def register() -> None:
    bpy.app.translations.register(PACKAGE, _dictionary())


def unregister() -> None:
    bpy.app.translations.unregister(PACKAGE)
