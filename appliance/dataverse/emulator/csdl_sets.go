package emulator

import "strings"

// madeSet is an entity set that every environment answers, as $metadata declares it
// where the schema has no table of its own for it. Notation as in csdlOperation; the key
// is the first property.
type madeSet struct{ set, typ, properties, navigation string }

var madeSets = []madeSet{
	{"sdkmessages", "sdkmessage", "sdkmessageid Edm.Guid,name Edm.String,categoryname Edm.String,isprivate Edm.Boolean,isreadonly Edm.Boolean," +
		"isactive Edm.Boolean,isvalidforexecuteasync Edm.Boolean,autotransact Edm.Boolean,template Edm.Boolean", ""},
	{"sdkmessagefilters", "sdkmessagefilter", "sdkmessagefilterid Edm.Guid,primaryobjecttypecode Edm.String,secondaryobjecttypecode Edm.String," +
		"iscustomprocessingstepallowed Edm.Boolean,_sdkmessageid_value Edm.Guid",
		"sdkmessageid mscrm.sdkmessage,sdkmessagefilterid_sdkmessageprocessingstep Collection(mscrm.sdkmessageprocessingstep)"},
	{"sdkmessageprocessingsteps", "sdkmessageprocessingstep", "sdkmessageprocessingstepid Edm.Guid,name Edm.String,statecode Edm.Int32," +
		"statuscode Edm.Int32,customizationlevel Edm.Int32,iscustomizable mscrm.BooleanManagedProperty,_sdkmessagefilterid_value Edm.Guid", ""},
	{"organizations", "organization", "organizationid Edm.Guid,name Edm.String,languagecode Edm.Int32,_basecurrencyid_value Edm.Guid," +
		"isauditenabled Edm.Boolean,maxuploadfilesize Edm.Int32,blockedattachments Edm.String,expirechangetrackingindays Edm.Int32,plugintracelogsetting Edm.Int32", ""},
	{"solutions", "solution", "solutionid Edm.Guid,uniquename Edm.String,friendlyname Edm.String,version Edm.String,ismanaged Edm.Boolean," +
		"isvisible Edm.Boolean,_publisherid_value Edm.Guid", ""},
	{"publishers", "publisher", "publisherid Edm.Guid,uniquename Edm.String,friendlyname Edm.String,customizationprefix Edm.String," +
		"customizationoptionvalueprefix Edm.Int32,isreadonly Edm.Boolean", ""},
	{"asyncoperations", "asyncoperation", "asyncoperationid Edm.Guid,name Edm.String,createdon Edm.DateTimeOffset,statecode Edm.Int32,statuscode Edm.Int32," +
		"operationtype Edm.Int32,message Edm.String,friendlymessage Edm.String,startedon Edm.DateTimeOffset,completedon Edm.DateTimeOffset",
		"AsyncOperation_BulkDeleteOperation Collection(mscrm.bulkdeleteoperation)"},
	{"bulkdeleteoperations", "bulkdeleteoperation", "bulkdeleteoperationid Edm.Guid,name Edm.String,createdon Edm.DateTimeOffset,statecode Edm.Int32," +
		"statuscode Edm.Int32,_asyncoperationid_value Edm.Guid,successcount Edm.Int32,failurecount Edm.Int32",
		"asyncoperationid mscrm.asyncoperation"},
}

// made lists the sets that the schema lacks.
func (m *model) made() []madeSet {
	var out []madeSet
	for _, s := range madeSets {
		if m.bySet[s.set] == nil && m.byName[s.typ] == nil {
			out = append(out, s)
		}
	}
	return out
}

func (w *csdl) madeType(s madeSet) {
	key, _, _ := strings.Cut(s.properties, " ")
	w.open("EntityType", "Name", s.typ, "BaseType", "mscrm.crmbaseentity")
	w.key(key)
	w.typed("Property", s.properties, "")
	if s.navigation != "" {
		w.typed("NavigationProperty", s.navigation, "")
	}
	w.close("EntityType")
}

// madeSet writes the set of such a type; what its navigation properties lead to is of
// the same list.
func (w *csdl) madeSet(s madeSet) {
	w.open("EntitySet", "Name", s.set, "EntityType", namespace+s.typ)
	for item := range strings.SplitSeq(s.navigation, ",") {
		nav, typ, _ := strings.Cut(item, " ")
		for _, to := range madeSets {
			if strings.TrimSuffix(strings.TrimPrefix(typ, "Collection("), ")") == "mscrm."+to.typ {
				w.empty("NavigationPropertyBinding", "Path", nav, "Target", to.set)
			}
		}
	}
	w.close("EntitySet")
}

// definitionSet writes a set of the metadata.
func (w *csdl) definitionSet(name, typ, bindings string) {
	w.open("EntitySet", "Name", name, "EntityType", namespace+typ)
	for item := range strings.SplitSeq(bindings, ",") {
		if nav, target, ok := strings.Cut(item, " "); ok {
			w.empty("NavigationPropertyBinding", "Path", nav, "Target", target)
		}
	}
	w.close("EntitySet")
}
