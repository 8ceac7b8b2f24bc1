// Package config holds the settings of a migration project: the file
// migration.yaml in the project's folder, overlaid on defaults, overlaid by the
// environment, overlaid by flags (which the command line sets as plain fields
// before it calls Validate).
//
// It promises three things. Every fault of a file is returned at once, each with
// its line and a hint (Faults). What a key is called, which type it has, what it
// may be and what it means stands once, in the tags of the structs in settings.go;
// the strict decoder, Validate and the JSON Schema for editors all read them there,
// so they cannot differ. A secret comes from the environment, never from the file,
// and no form of a Config (String, JSON, log, fmt verbs) shows one.
//
// Words: a key is named by its path, "target.url"; a setting is a key that holds a
// value rather than a mapping. The environment variable of a setting that is not
// inside a named source, table or rate is DVMIGRATE_ and the path in capitals with
// underscores: load.batch is DVMIGRATE_LOAD_BATCH. The exceptions are target.token,
// which is DVMIGRATE_TOKEN, and version and name, which only the file may set. A
// variable that is set but empty counts as not set. In text values ${NAME} is replaced
// from the environment and $${ stands for ${ itself; numbers, sizes, durations and
// words from a fixed choice take no ${NAME}, their variable does that.
//
// The package opens no other file than migration.yaml, connects to nothing and does
// not know the parts that the settings are for: whether a source exists or an encoding
// is known is found by who opens it. YAML anchors, aliases and merge keys are refused.
package config
