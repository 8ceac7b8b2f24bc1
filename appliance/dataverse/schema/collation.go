package schema

// DefaultLanguage is the language of an environment of which nothing else is known: English
// of the United States.
const DefaultLanguage = 1033

// Collation tells how the database of an environment compares texts, by the language that it
// was made with (organization.languagecode, a Windows LCID): none regards case, and of most
// languages accents do not count either, so that Müller and Muller are one key. known is false
// for a language of which Microsoft says nothing, and accents is then false as for most.
//
// The source is learn.microsoft.com/power-platform/admin/language-collations, which also says
// that a collation cannot be changed. It lists 3081 twice, the second time as English (UK):
// what is meant is taken to be 2057.
func Collation(language int) (accents, known bool) {
	accents, known = collations[language]
	return accents, known
}

// collations says of which languages accents count (_CI_AS; the others are _CI_AI).
var collations = map[int]bool{
	1025: false, 1026: false, 1027: false, 1028: false, 1029: false, 1030: false, 1031: false, 1032: false, 1033: false, 1035: true,
	1036: false, 1037: false, 1038: false, 1040: false, 1041: false, 1042: false, 1043: false, 1044: false, 1045: false, 1046: false,
	1048: true, 1049: false, 1050: true, 1051: true, 1053: true, 1054: true, 1055: false, 1057: true, 1058: true, 1060: true,
	1061: true, 1062: true, 1063: true, 1066: true, 1069: true, 1081: true, 1086: true, 1087: true, 1110: true, 2052: false,
	2055: true, 2057: true, 2064: true, 2070: false, 2074: true, 3076: false, 3079: true, 3081: true, 3082: false, 3084: false,
	3098: false, 4108: false,
}
