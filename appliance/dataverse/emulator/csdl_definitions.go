package emulator

import "strings"

// definitionType is a type of the metadata as $metadata declares it, in the notation of
// csdlOperation. Its properties are those that the definitions have (meta_*.go), in what
// the documents of real environments call them.
type definitionType struct {
	name, base string
	abstract   bool
	key        string // what else it is addressed by than MetadataId; its heirs are, too
	properties string
	navigation string // a type ends in ? where the property does not contain what it leads to
}

var definitionTypes = []definitionType{
	{name: "MetadataBase", base: "crmmodelbaseentity", abstract: true, properties: "MetadataId Edm.Guid,HasChanged Edm.Boolean"},
	{name: "AttributeMetadata", base: "MetadataBase", key: "LogicalName",
		properties: `AttributeOf Edm.String,AttributeType mscrm.AttributeTypeCode,AttributeTypeName mscrm.AttributeTypeDisplayName,
		ColumnNumber Edm.Int32,Description mscrm.Label,DisplayName mscrm.Label,DeprecatedVersion Edm.String,
		IntroducedVersion Edm.String,EntityLogicalName Edm.String,IsAuditEnabled mscrm.BooleanManagedProperty,
		IsCustomAttribute Edm.Boolean,IsPrimaryId Edm.Boolean,IsPrimaryName Edm.Boolean,IsValidForCreate Edm.Boolean,
		IsValidForRead Edm.Boolean,IsValidForUpdate Edm.Boolean,CanBeSecuredForRead Edm.Boolean,CanBeSecuredForCreate Edm.Boolean,
		CanBeSecuredForUpdate Edm.Boolean,IsSecured Edm.Boolean,IsRetrievable Edm.Boolean,IsFilterable Edm.Boolean,
		IsSearchable Edm.Boolean,IsManaged Edm.Boolean,IsGlobalFilterEnabled mscrm.BooleanManagedProperty,
		IsSortableEnabled mscrm.BooleanManagedProperty,LinkedAttributeId Edm.Guid,LogicalName Edm.String,
		IsCustomizable mscrm.BooleanManagedProperty,IsRenameable mscrm.BooleanManagedProperty,
		IsValidForAdvancedFind mscrm.BooleanManagedProperty,IsValidForForm Edm.Boolean,IsRequiredForForm Edm.Boolean,
		IsValidForGrid Edm.Boolean,RequiredLevel mscrm.AttributeRequiredLevelManagedProperty,
		CanModifyAdditionalSettings mscrm.BooleanManagedProperty,SchemaName Edm.String,ExternalName Edm.String,IsLogical Edm.Boolean,
		IsDataSourceSecret Edm.Boolean,InheritsFrom Edm.String,SourceType Edm.Int32,AutoNumberFormat Edm.String,
		IsValidODataAttribute Edm.Boolean`},
	{name: "BigIntAttributeMetadata", base: "AttributeMetadata", properties: "MaxValue Edm.Int64,MinValue Edm.Int64"},
	{name: "BooleanAttributeMetadata", base: "AttributeMetadata", properties: "DefaultValue Edm.Boolean,FormulaDefinition Edm.String,SourceTypeMask Edm.Int32",
		navigation: "OptionSet mscrm.BooleanOptionSetMetadata,GlobalOptionSet mscrm.BooleanOptionSetMetadata?"},
	{name: "OptionSetMetadataBase", base: "MetadataBase", key: "Name",
		properties: `Description mscrm.Label,DisplayName mscrm.Label,IsCustomOptionSet Edm.Boolean,IsGlobal Edm.Boolean,IsManaged Edm.Boolean,
		IsCustomizable mscrm.BooleanManagedProperty,Name Edm.String,ExternalTypeName Edm.String,OptionSetType mscrm.OptionSetType,
		IntroducedVersion Edm.String`},
	{name: "BooleanOptionSetMetadata", base: "OptionSetMetadataBase", properties: "TrueOption mscrm.OptionMetadata,FalseOption mscrm.OptionMetadata"},
	{name: "DateTimeAttributeMetadata", base: "AttributeMetadata",
		properties: `MinSupportedValue Edm.DateTimeOffset,MaxSupportedValue Edm.DateTimeOffset,Format mscrm.DateTimeFormat,ImeMode mscrm.ImeMode,
		SourceTypeMask Edm.Int32,FormulaDefinition Edm.String,DateTimeBehavior mscrm.DateTimeBehavior,
		CanChangeDateTimeBehavior mscrm.BooleanManagedProperty`},
	{name: "DecimalAttributeMetadata", base: "AttributeMetadata",
		properties: `MaxValue Edm.Decimal,MinValue Edm.Decimal,Precision Edm.Int32,ImeMode mscrm.ImeMode,FormulaDefinition Edm.String,
		SourceTypeMask Edm.Int32`},
	{name: "DoubleAttributeMetadata", base: "AttributeMetadata", properties: "ImeMode mscrm.ImeMode,MaxValue Edm.Double,MinValue Edm.Double,Precision Edm.Int32"},
	{name: "EntityMetadata", base: "MetadataBase", key: "LogicalName",
		properties: `ActivityTypeMask Edm.Int32,AutoRouteToOwnerQueue Edm.Boolean,CanTriggerWorkflow Edm.Boolean,Description mscrm.Label,
		DisplayCollectionName mscrm.Label,DisplayName mscrm.Label,EntityHelpUrlEnabled Edm.Boolean,EntityHelpUrl Edm.String,
		IsDocumentManagementEnabled Edm.Boolean,IsOneNoteIntegrationEnabled Edm.Boolean,IsInteractionCentricEnabled Edm.Boolean,
		IsKnowledgeManagementEnabled Edm.Boolean,IsSLAEnabled Edm.Boolean,IsBPFEntity Edm.Boolean,
		IsDocumentRecommendationsEnabled Edm.Boolean,DataProviderId Edm.Guid,DataSourceId Edm.Guid,AutoCreateAccessTeams Edm.Boolean,
		IsActivity Edm.Boolean,IsActivityParty Edm.Boolean,IsAuditEnabled mscrm.BooleanManagedProperty,IsAvailableOffline Edm.Boolean,
		IsChildEntity Edm.Boolean,IsAIRUpdated Edm.Boolean,IsValidForQueue mscrm.BooleanManagedProperty,
		IsConnectionsEnabled mscrm.BooleanManagedProperty,IconLargeName Edm.String,IconMediumName Edm.String,IconSmallName Edm.String,
		IconVectorName Edm.String,IsCustomEntity Edm.Boolean,IsBusinessProcessEnabled Edm.Boolean,
		IsCustomizable mscrm.BooleanManagedProperty,IsRenameable mscrm.BooleanManagedProperty,IsMappable mscrm.BooleanManagedProperty,
		IsDuplicateDetectionEnabled mscrm.BooleanManagedProperty,CanCreateAttributes mscrm.BooleanManagedProperty,
		CanCreateForms mscrm.BooleanManagedProperty,CanCreateViews mscrm.BooleanManagedProperty,
		CanCreateCharts mscrm.BooleanManagedProperty,CanBeRelatedEntityInRelationship mscrm.BooleanManagedProperty,
		CanBePrimaryEntityInRelationship mscrm.BooleanManagedProperty,CanBeInManyToMany mscrm.BooleanManagedProperty,
		CanBeInCustomEntityAssociation mscrm.BooleanManagedProperty,CanEnableSyncToExternalSearchIndex mscrm.BooleanManagedProperty,
		SyncToExternalSearchIndex Edm.Boolean,CanModifyAdditionalSettings mscrm.BooleanManagedProperty,
		CanChangeHierarchicalRelationship mscrm.BooleanManagedProperty,IsOptimisticConcurrencyEnabled Edm.Boolean,
		ChangeTrackingEnabled Edm.Boolean,CanChangeTrackingBeEnabled mscrm.BooleanManagedProperty,IsImportable Edm.Boolean,
		IsIntersect Edm.Boolean,IsMailMergeEnabled mscrm.BooleanManagedProperty,IsManaged Edm.Boolean,IsEnabledForCharts Edm.Boolean,
		IsEnabledForTrace Edm.Boolean,IsValidForAdvancedFind Edm.Boolean,IsVisibleInMobile mscrm.BooleanManagedProperty,
		IsVisibleInMobileClient mscrm.BooleanManagedProperty,IsReadOnlyInMobileClient mscrm.BooleanManagedProperty,
		IsOfflineInMobileClient mscrm.BooleanManagedProperty,DaysSinceRecordLastModified Edm.Int32,MobileOfflineFilters Edm.String,
		IsReadingPaneEnabled Edm.Boolean,IsQuickCreateEnabled Edm.Boolean,LogicalName Edm.String,ObjectTypeCode Edm.Int32,
		OwnershipType mscrm.OwnershipTypes,PrimaryNameAttribute Edm.String,PrimaryImageAttribute Edm.String,
		PrimaryIdAttribute Edm.String,Privileges Collection(mscrm.SecurityPrivilegeMetadata),
		RecurrenceBaseEntityLogicalName Edm.String,ReportViewName Edm.String,SchemaName Edm.String,IntroducedVersion Edm.String,
		IsStateModelAware Edm.Boolean,EnforceStateTransitions Edm.Boolean,ExternalName Edm.String,EntityColor Edm.String,
		LogicalCollectionName Edm.String,ExternalCollectionName Edm.String,CollectionSchemaName Edm.String,EntitySetName Edm.String,
		IsEnabledForExternalChannels Edm.Boolean,IsPrivate Edm.Boolean,UsesBusinessDataLabelTable Edm.Boolean,
		IsLogicalEntity Edm.Boolean,HasNotes Edm.Boolean,HasActivities Edm.Boolean,HasFeedback Edm.Boolean,TableType Edm.String`,
		navigation: "Attributes Collection(mscrm.AttributeMetadata),ManyToManyRelationships Collection(mscrm.ManyToManyRelationshipMetadata)?,ManyToOneRelationships Collection(mscrm.OneToManyRelationshipMetadata)?,OneToManyRelationships Collection(mscrm.OneToManyRelationshipMetadata)?,Keys Collection(mscrm.EntityKeyMetadata)"},
	{name: "EntityKeyMetadata", base: "MetadataBase", key: "LogicalName",
		properties: `DisplayName mscrm.Label,LogicalName Edm.String,SchemaName Edm.String,EntityLogicalName Edm.String,
		KeyAttributes Collection(Edm.String),IsCustomizable mscrm.BooleanManagedProperty,IsManaged Edm.Boolean,
		IntroducedVersion Edm.String,EntityKeyIndexStatus mscrm.EntityKeyIndexStatus,IsExportKey Edm.Boolean,
		IsSynchronous Edm.Boolean`},
	{name: "EnumAttributeMetadata", base: "AttributeMetadata", properties: "DefaultFormValue Edm.Int32",
		navigation: "OptionSet mscrm.OptionSetMetadata,GlobalOptionSet mscrm.OptionSetMetadata?"},
	{name: "EntityNameAttributeMetadata", base: "EnumAttributeMetadata", properties: "IsEntityReferenceStored Edm.Boolean"},
	{name: "FileAttributeMetadata", base: "AttributeMetadata", properties: "MaxSizeInKB Edm.Int32"},
	{name: "ImageAttributeMetadata", base: "AttributeMetadata", properties: "IsPrimaryImage Edm.Boolean,MaxHeight Edm.Int16,MaxWidth Edm.Int16,CanStoreFullImage Edm.Boolean,MaxSizeInKB Edm.Int32"},
	{name: "IntegerAttributeMetadata", base: "AttributeMetadata", properties: "Format mscrm.IntegerFormat,MaxValue Edm.Int32,MinValue Edm.Int32,FormulaDefinition Edm.String,SourceTypeMask Edm.Int32"},
	{name: "LookupAttributeMetadata", base: "AttributeMetadata", properties: "Targets Collection(Edm.String),Format mscrm.LookupFormat"},
	{name: "ManagedPropertyAttributeMetadata", base: "AttributeMetadata",
		properties: `ManagedPropertyLogicalName Edm.String,ParentComponentType Edm.Int32,ParentAttributeName Edm.String,
		ValueAttributeTypeCode mscrm.AttributeTypeCode`},
	{name: "ManagedPropertyMetadata", base: "MetadataBase", key: "LogicalName",
		properties: `LogicalName Edm.String,DisplayName mscrm.Label,ManagedPropertyType mscrm.ManagedPropertyType,
		Operation mscrm.ManagedPropertyOperation,IsGlobalForOperation Edm.Boolean,
		EvaluationPriority mscrm.ManagedPropertyEvaluationPriority,IsPrivate Edm.Boolean,ErrorCode Edm.Int32,
		EnablesEntityName Edm.String,EnablesAttributeName Edm.String,Description mscrm.Label,IntroducedVersion Edm.String`},
	{name: "RelationshipMetadataBase", base: "MetadataBase", abstract: true, key: "SchemaName",
		properties: `IsCustomRelationship Edm.Boolean,IsCustomizable mscrm.BooleanManagedProperty,IsValidForAdvancedFind Edm.Boolean,
		SchemaName Edm.String,SecurityTypes mscrm.SecurityTypes,IsManaged Edm.Boolean,RelationshipType mscrm.RelationshipType,
		IntroducedVersion Edm.String`},
	{name: "ManyToManyRelationshipMetadata", base: "RelationshipMetadataBase",
		properties: `Entity1AssociatedMenuConfiguration mscrm.AssociatedMenuConfiguration,
		Entity2AssociatedMenuConfiguration mscrm.AssociatedMenuConfiguration,Entity1LogicalName Edm.String,
		Entity2LogicalName Edm.String,IntersectEntityName Edm.String,Entity1IntersectAttribute Edm.String,
		Entity2IntersectAttribute Edm.String,Entity1NavigationPropertyName Edm.String,Entity2NavigationPropertyName Edm.String`},
	{name: "MemoAttributeMetadata", base: "AttributeMetadata", properties: "Format mscrm.StringFormat,ImeMode mscrm.ImeMode,MaxLength Edm.Int32,IsLocalizable Edm.Boolean,FormatName mscrm.MemoFormatName"},
	{name: "MoneyAttributeMetadata", base: "AttributeMetadata",
		properties: `ImeMode mscrm.ImeMode,MaxValue Edm.Double,MinValue Edm.Double,Precision Edm.Int32,PrecisionSource Edm.Int32,
		CalculationOf Edm.String,FormulaDefinition Edm.String,SourceTypeMask Edm.Int32,IsBaseCurrency Edm.Boolean`},
	{name: "MultiSelectPicklistAttributeMetadata", base: "EnumAttributeMetadata",
		properties: `FormulaDefinition Edm.String,SourceTypeMask Edm.Int32,ParentPicklistLogicalName Edm.String,
		ChildPicklistLogicalNames Collection(Edm.String)`},
	{name: "OneToManyRelationshipMetadata", base: "RelationshipMetadataBase",
		properties: `AssociatedMenuConfiguration mscrm.AssociatedMenuConfiguration,CascadeConfiguration mscrm.CascadeConfiguration,
		ReferencedAttribute Edm.String,ReferencedEntity Edm.String,ReferencingAttribute Edm.String,ReferencingEntity Edm.String,
		IsHierarchical Edm.Boolean,ReferencedEntityNavigationPropertyName Edm.String,
		ReferencingEntityNavigationPropertyName Edm.String,EntityKey Edm.String,IsRelationshipAttributeDenormalized Edm.Boolean,
		RelationshipBehavior Edm.Int32,RelationshipAttributes Collection(mscrm.RelationshipAttribute)`,
		navigation: "Lookup mscrm.LookupAttributeMetadata"},
	{name: "OptionSetMetadata", base: "OptionSetMetadataBase", properties: "Options Collection(mscrm.OptionMetadata),ParentOptionSetName Edm.String"},
	{name: "PicklistAttributeMetadata", base: "EnumAttributeMetadata",
		properties: `FormulaDefinition Edm.String,SourceTypeMask Edm.Int32,ParentPicklistLogicalName Edm.String,
		ChildPicklistLogicalNames Collection(Edm.String)`},
	{name: "StateAttributeMetadata", base: "EnumAttributeMetadata"},
	{name: "StatusAttributeMetadata", base: "EnumAttributeMetadata"},
	{name: "StringAttributeMetadata", base: "AttributeMetadata",
		properties: `Format mscrm.StringFormat,FormatName mscrm.StringFormatName,ImeMode mscrm.ImeMode,MaxLength Edm.Int32,YomiOf Edm.String,
		IsLocalizable Edm.Boolean,DatabaseLength Edm.Int32,FormulaDefinition Edm.String,SourceTypeMask Edm.Int32`},
	{name: "UniqueIdentifierAttributeMetadata", base: "AttributeMetadata"},
}

// definitionParts are the complex types in them: name, base and properties.
var definitionParts = [][3]string{
	{"AttributeTypeDisplayName", "", "Value Edm.String"},
	{"Label", "", "LocalizedLabels Collection(mscrm.LocalizedLabel),UserLocalizedLabel mscrm.LocalizedLabel"},
	{"AttributeRequiredLevelManagedProperty", "", "Value mscrm.AttributeRequiredLevel,CanBeChanged Edm.Boolean,ManagedPropertyLogicalName Edm.String"},
	{"OptionMetadata", "", `Value Edm.Int32,Label mscrm.Label,Description mscrm.Label,Color Edm.String,IsManaged Edm.Boolean,ExternalValue Edm.String,
		MetadataId Edm.Guid,HasChanged Edm.Boolean,ParentValues Collection(Edm.Int32),Tag Edm.String,IsHidden Edm.Boolean`},
	{"StateOptionMetadata", "OptionMetadata", "DefaultStatus Edm.Int32,InvariantName Edm.String"},
	{"StatusOptionMetadata", "OptionMetadata", "State Edm.Int32,TransitionData Edm.String"},
	{"DateTimeBehavior", "", "Value Edm.String"},
	{"SecurityPrivilegeMetadata", "", `CanBeBasic Edm.Boolean,CanBeDeep Edm.Boolean,CanBeGlobal Edm.Boolean,CanBeLocal Edm.Boolean,CanBeEntityReference Edm.Boolean,
		CanBeParentEntityReference Edm.Boolean,Name Edm.String,PrivilegeId Edm.Guid,PrivilegeType mscrm.PrivilegeType`},
	{"AssociatedMenuConfiguration", "", `Behavior mscrm.AssociatedMenuBehavior,Group mscrm.AssociatedMenuGroup,Label mscrm.Label,Order Edm.Int32,
		IsCustomizable Edm.Boolean,Icon Edm.String,ViewId Edm.Guid,AvailableOffline Edm.Boolean,MenuId Edm.String,QueryApi Edm.String`},
	{"MemoFormatName", "", "Value Edm.String"},
	{"CascadeConfiguration", "", `Assign mscrm.CascadeType,Delete mscrm.CascadeType,Merge mscrm.CascadeType,Reparent mscrm.CascadeType,Share mscrm.CascadeType,
		Unshare mscrm.CascadeType,RollupView mscrm.CascadeType,Archive mscrm.CascadeType`},
	{"RelationshipAttribute", "", "AttributeName Edm.String"},
	{"StringFormatName", "", "Value Edm.String"},
	{"LocalizedLabel", "", "Label Edm.String,LanguageCode Edm.Int32,IsManaged Edm.Boolean,MetadataId Edm.Guid,HasChanged Edm.Boolean"},
}

// definitionEnums are the enumerations: name, with a + where values may be combined, and
// members.
var definitionEnums = [][2]string{
	{"AttributeTypeCode", "Boolean=0 Customer=1 DateTime=2 Decimal=3 Double=4 Integer=5 Lookup=6 Memo=7 Money=8 Owner=9 PartyList=10 Picklist=11 State=12 Status=13 String=14 Uniqueidentifier=15 CalendarRules=16 Virtual=17 BigInt=18 ManagedProperty=19 EntityName=20"},
	{"OptionSetType", "Picklist=0 State=1 Status=2 Boolean=3"},
	{"DateTimeFormat", "DateOnly=0 DateAndTime=1"},
	{"ImeMode", "Auto=0 Inactive=1 Active=2 Disabled=3"},
	{"OwnershipTypes+", "None=0 UserOwned=1 TeamOwned=2 BusinessOwned=4 OrganizationOwned=8 BusinessParented=16"},
	{"EntityKeyIndexStatus", "Pending=0 InProgress=1 Active=2 Failed=3"},
	{"IntegerFormat", "None=0 Duration=1 TimeZone=2 Language=3 Locale=4"},
	{"LookupFormat", "None=0 Connection=1 Regarding=2 Text=3"},
	{"ManagedPropertyType", "Operation=0 Attribute=1 CustomEvaluator=2 Custom=3"},
	{"ManagedPropertyOperation", "None=0 Create=1 Update=2 CreateUpdate=3 Delete=4 UpdateDelete=6 All=7"},
	{"ManagedPropertyEvaluationPriority", "None=0 Low=1 Normal=2 High=3 Essential=4"},
	{"SecurityTypes+", "None=0 Append=1 ParentChild=2 Pointer=4 Inheritance=8"},
	{"RelationshipType", "OneToManyRelationship=0 ManyToManyRelationship=1"},
	{"StringFormat", "Email=0 Text=1 TextArea=2 Url=3 TickerSymbol=4 PhoneticGuide=5 VersionNumber=6 Phone=7"},
	{"AttributeRequiredLevel", "None=0 SystemRequired=1 ApplicationRequired=2 Recommended=3"},
	{"PrivilegeType", "None=0 Create=1 Read=2 Write=3 Delete=4 Assign=5 Share=6 Append=7 AppendTo=8"},
	{"AssociatedMenuBehavior", "UseCollectionName=0 UseLabel=1 DoNotDisplay=2"},
	{"AssociatedMenuGroup", "Details=0 Sales=1 Service=2 Marketing=3"},
	{"CascadeType", "NoCascade=0 Cascade=1 Active=2 UserOwned=3 RemoveLink=4 Restrict=5"},
}

// definitionSets are the entity sets of the metadata, and where their navigation
// properties lead.
var definitionSets = []struct{ name, typ, bindings string }{
	{"EntityDefinitions", "EntityMetadata", "ManyToManyRelationships RelationshipDefinitions,ManyToOneRelationships RelationshipDefinitions," +
		"OneToManyRelationships RelationshipDefinitions"},
	{"GlobalOptionSetDefinitions", "OptionSetMetadataBase", ""},
	{"RelationshipDefinitions", "RelationshipMetadataBase", ""},
}

// definitions writes the types of the metadata.
func (w *csdl) definitions() {
	w.empty("EntityType", "Name", "crmmodelbaseentity", "Abstract", "true")
	for _, d := range definitionTypes {
		w.open("EntityType", "Name", d.name, "BaseType", "mscrm."+d.base, "Abstract", map[bool]string{true: "true"}[d.abstract])
		if d.name == "MetadataBase" {
			w.key("MetadataId")
		}
		if d.properties != "" {
			w.typed("Property", d.properties, "")
		}
		for item := range strings.SplitSeq(d.navigation, ",") {
			name, typ, ok := strings.Cut(item, " ")
			typ, outside := strings.CutSuffix(typ, "?")
			if ok {
				w.empty("NavigationProperty", "Name", name, "Type", typ, "ContainsTarget", map[bool]string{false: "true"}[outside])
			}
		}
		if d.key != "" {
			w.alternateKeys([][]string{{d.key}})
		}
		w.close("EntityType")
	}
	for _, p := range definitionParts {
		base := ""
		if p[1] != "" {
			base = "mscrm." + p[1]
		}
		w.open("ComplexType", "Name", p[0], "BaseType", base)
		w.typed("Property", p[2], "")
		w.close("ComplexType")
	}
	for _, e := range definitionEnums {
		name, flags := strings.CutSuffix(e[0], "+")
		w.open("EnumType", "Name", name, "IsFlags", map[bool]string{true: "true"}[flags])
		for m := range strings.FieldsSeq(e[1]) {
			member, value, _ := strings.Cut(m, "=")
			w.empty("Member", "Name", member, "Value", value)
		}
		w.close("EnumType")
	}
}
