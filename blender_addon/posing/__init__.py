"""How people stand: OpenPose's points read from posed armatures. Nothing is imported here."""
