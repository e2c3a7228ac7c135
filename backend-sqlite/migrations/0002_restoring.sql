-- A restored entry brings its version along, which may be lower than the last one given; `last`
-- only grows all the same (W3, W9).
DROP TRIGGER entry_added;
DROP TRIGGER entry_changed;

CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
    UPDATE versions SET last = max(last, NEW.version);
END;

CREATE TRIGGER entry_changed AFTER UPDATE OF version ON entries BEGIN
    UPDATE versions SET last = max(last, NEW.version);
END;

PRAGMA user_version = 2;
