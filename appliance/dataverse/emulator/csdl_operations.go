package emulator

import (
	"strings"
)

// csdlOperation is an operation as the $metadata document declares it. Parameters and
// results are "Name Type", separated by commas; a type ends in ? where null is allowed.
type csdlOperation struct {
	kind, name string
	bound      bool
	parameters string
	result     string // properties of its response type, or a collection of rows; empty for none, of a function for crmbaseentity
}

// csdlOperations are the unbound operations of the emulator, and the bound ones
// that belong to one table.
var csdlOperations = []csdlOperation{
	{"Function", "WhoAmI", false, "", "BusinessUnitId Edm.Guid,UserId Edm.Guid,OrganizationId Edm.Guid"},
	{"Function", "RetrieveVersion", false, "", "Version Edm.String"},
	{"Function", "RetrieveTotalRecordCount", false, "EntityNames Collection(Edm.String)", "EntityRecordCountCollection mscrm.EntityRecordCountCollection"},
	{"Function", "RetrieveCurrentOrganization", false, "AccessType mscrm.EndpointAccessType", "Detail mscrm.OrganizationDetail"},
	{"Function", "RetrieveMetadataChanges", false, "Query mscrm.EntityQueryExpression?,DeletedMetadataFilters mscrm.DeletedMetadataFilters?,ClientVersionStamp Edm.String?,AppModuleId Edm.Guid?,RetrieveAllSettings Edm.Boolean?", "EntityMetadata Collection(mscrm.ComplexEntityMetadata),ServerVersionStamp Edm.String,DeletedMetadata mscrm.DeletedMetadataCollection"},
	{"Function", "CalculateRollupField", false, "Target mscrm.crmbaseentity,FieldName Edm.String", ""},
	{"Function", "RetrieveDuplicates", false, "BusinessEntity mscrm.crmbaseentity,MatchingEntityName Edm.String,PagingInfo mscrm.PagingInfo", "Collection(mscrm.crmbaseentity)"},
	{"Function", "RetrieveSharedPrincipalsAndAccess", false, "Target mscrm.crmbaseentity", "PrincipalAccesses Collection(mscrm.PrincipalAccess)"},
	{"Function", "RetrieveRolePrivilegesRole", false, "RoleId Edm.Guid", "RolePrivileges Collection(mscrm.RolePrivilege)"},
	{"Function", "RetrieveDependenciesForDelete", false, "ObjectId Edm.Guid,ComponentType Edm.Int32", "Collection(mscrm.crmbaseentity)"},
	{"Function", "RetrieveUserPrivileges", true, "entity mscrm.systemuser", "RolePrivileges Collection(mscrm.RolePrivilege)"},
	{"Function", "RetrievePrincipalAccess", true, "entity mscrm.systemuser,Target mscrm.crmbaseentity", "AccessRights mscrm.AccessRights"},
	{"Action", "SetAutoNumberSeed", false, "EntityName Edm.String,AttributeName Edm.String,Value Edm.Int64", ""},
	{"Action", "GetAutoNumberSeed", false, "EntityName Edm.String,AttributeName Edm.String", "AutoNumberSeedValue Edm.Int64"},
	{"Action", "GetNextAutoNumberValue", false, "EntityName Edm.String,AttributeName Edm.String", "NextAutoNumberValue Edm.Int64"},
	{"Action", "PublishAllXml", false, "", ""},
	{"Action", "PublishXml", false, "ParameterXml Edm.String", ""},
	{"Action", "BulkDelete", false, "QuerySet Collection(mscrm.QueryExpression)?,JobName Edm.String,SendEmailNotification Edm.Boolean,ToRecipients Collection(mscrm.crmbaseentity),CCRecipients Collection(mscrm.crmbaseentity),RecurrencePattern Edm.String,StartDateTime Edm.DateTimeOffset,SourceImportId Edm.Guid?,RunNow Edm.Boolean?", "JobId Edm.Guid"},
	{"Action", "BulkDetectDuplicates", false, "Query mscrm.QueryExpression,JobName Edm.String,SendEmailNotification Edm.Boolean,TemplateId Edm.Guid,ToRecipients Collection(mscrm.crmbaseentity),CCRecipients Collection(mscrm.crmbaseentity),RecurrencePattern Edm.String,RecurrenceStartTime Edm.DateTimeOffset", "JobId Edm.Guid"},
	{"Action", "ReactivateEntityKey", false, "EntityLogicalName Edm.String,EntityKeyLogicalName Edm.String", ""},
	{"Action", "Merge", false, "Target mscrm.crmbaseentity,Subordinate mscrm.crmbaseentity,UpdateContent mscrm.crmbaseentity,PerformParentingChecks Edm.Boolean", ""},
	{"Action", "CreateCustomerRelationships", false, "Lookup mscrm.ComplexLookupAttributeMetadata?,OneToManyRelationships Collection(mscrm.ComplexOneToManyRelationshipMetadata)?,SolutionUniqueName Edm.String?", "RelationshipIds Collection(Edm.Guid),AttributeId Edm.Guid"},
	{"Action", "GrantAccess", false, "Target mscrm.crmbaseentity,PrincipalAccess mscrm.PrincipalAccess?", ""},
	{"Action", "ModifyAccess", false, "Target mscrm.crmbaseentity,PrincipalAccess mscrm.PrincipalAccess?", ""},
	{"Action", "RevokeAccess", false, "Target mscrm.crmbaseentity,Revokee mscrm.crmbaseentity", ""},
	{"Action", "AddMembersTeam", true, "entity mscrm.team,Members Collection(mscrm.systemuser)", ""},
	{"Action", "RemoveMembersTeam", true, "entity mscrm.team,Members Collection(mscrm.systemuser)", ""},
	{"Action", "InitializeFileBlocksUpload", false, "Target mscrm.crmbaseentity,FileName Edm.String,FileAttributeName Edm.String", "FileContinuationToken Edm.String"},
	{"Action", "UploadBlock", false, "BlockId Edm.String,BlockData Edm.Binary,FileContinuationToken Edm.String", ""},
	{"Action", "CommitFileBlocksUpload", false, "FileName Edm.String,MimeType Edm.String,BlockList Collection(Edm.String),FileContinuationToken Edm.String", "FileId Edm.Guid,FileSizeInBytes Edm.Int64"},
	{"Action", "InitializeFileBlocksDownload", false, "Target mscrm.crmbaseentity,FileAttributeName Edm.String", "FileContinuationToken Edm.String,FileSizeInBytes Edm.Int64,FileName Edm.String,IsChunkingSupported Edm.Boolean"},
	{"Action", "DownloadBlock", false, "Offset Edm.Int64,BlockLength Edm.Int64,FileContinuationToken Edm.String", "Data Edm.Binary"},
	{"Action", "DeleteFile", false, "FileId Edm.Guid", ""},
	{"Action", "InitializeAnnotationBlocksUpload", false, "Target mscrm.annotation", "FileContinuationToken Edm.String"},
	{"Action", "CommitAnnotationBlocksUpload", false, "Target mscrm.annotation,BlockList Collection(Edm.String),FileContinuationToken Edm.String", "AnnotationId Edm.Guid,FileSizeInBytes Edm.Int64"},
	{"Action", "InitializeAttachmentBlocksUpload", false, "Target mscrm.activitymimeattachment", "FileContinuationToken Edm.String"},
	{"Action", "CommitAttachmentBlocksUpload", false, "Target mscrm.activitymimeattachment,BlockList Collection(Edm.String),FileContinuationToken Edm.String", "ActivityMimeAttachmentId Edm.Guid,FileSizeInBytes Edm.Int64"},
	{"Action", "CloseIncident", false, "IncidentResolution mscrm.incidentresolution,Status Edm.Int32", ""},
	{"Action", "WinOpportunity", false, "OpportunityClose mscrm.opportunityclose,Status Edm.Int32", ""},
	{"Action", "LoseOpportunity", false, "OpportunityClose mscrm.opportunityclose,Status Edm.Int32", ""},
	{"Action", "WinQuote", false, "QuoteClose mscrm.quoteclose,Status Edm.Int32", ""},
	{"Action", "CloseQuote", false, "QuoteClose mscrm.quoteclose,Status Edm.Int32", ""},
	{"Action", "CancelSalesOrder", false, "OrderClose mscrm.orderclose,Status Edm.Int32", ""},
	{"Action", "FulfillSalesOrder", true, "entityset Collection(mscrm.salesorder),OrderClose mscrm.orderclose,Status Edm.Int32", ""},
}

// csdlTypes are the types of their own that operations name. One that is not described
// here any further is open.
const csdlTypes = `<ComplexType Name="BooleanManagedProperty"><Property Name="Value" Type="Edm.Boolean" Nullable="false" /><Property Name="CanBeChanged" Type="Edm.Boolean" Nullable="false" /><Property Name="ManagedPropertyLogicalName" Type="Edm.String" Unicode="false" /></ComplexType>` +
	`<ComplexType Name="EntityRecordCountCollection"><Property Name="Count" Type="Edm.Int32" Nullable="false" /><Property Name="IsReadOnly" Type="Edm.Boolean" Nullable="false" /><Property Name="Keys" Type="Collection(Edm.String)" Unicode="false" /><Property Name="Values" Type="Collection(Edm.Int64)" Nullable="false" /></ComplexType>` +
	`<ComplexType Name="OrganizationDetail"><Property Name="OrganizationId" Type="Edm.Guid" Nullable="false" /><Property Name="FriendlyName" Type="Edm.String" Unicode="false" /></ComplexType>` +
	`<ComplexType Name="RolePrivilege"><Property Name="Depth" Type="mscrm.PrivilegeDepth" /><Property Name="PrivilegeId" Type="Edm.Guid" Nullable="false" /><Property Name="BusinessUnitId" Type="Edm.Guid" Nullable="false" /><Property Name="PrivilegeName" Type="Edm.String" Unicode="false" /></ComplexType>` +
	`<ComplexType Name="PrincipalAccess"><NavigationProperty Name="Principal" Type="mscrm.crmbaseentity" Nullable="false" /><Property Name="AccessMask" Type="mscrm.AccessRights" /></ComplexType>` +
	`<ComplexType Name="QueryExpression" OpenType="true" /><ComplexType Name="EntityQueryExpression" OpenType="true" /><ComplexType Name="DeletedMetadataCollection" OpenType="true" />` +
	`<ComplexType Name="ComplexEntityMetadata" OpenType="true" /><ComplexType Name="ComplexLookupAttributeMetadata" OpenType="true" /><ComplexType Name="ComplexOneToManyRelationshipMetadata" OpenType="true" />` +
	`<ComplexType Name="PagingInfo"><Property Name="PageNumber" Type="Edm.Int32" Nullable="false" /><Property Name="Count" Type="Edm.Int32" Nullable="false" /><Property Name="ReturnTotalRecordCount" Type="Edm.Boolean" Nullable="false" /><Property Name="PagingCookie" Type="Edm.String" Unicode="false" /></ComplexType>` +
	`<EnumType Name="EndpointAccessType"><Member Name="Default" Value="0" /><Member Name="Internet" Value="1" /><Member Name="Intranet" Value="2" /></EnumType>` +
	`<EnumType Name="PrivilegeDepth"><Member Name="Basic" Value="0" /><Member Name="Local" Value="1" /><Member Name="Deep" Value="2" /><Member Name="Global" Value="3" /></EnumType>` +
	`<EnumType Name="AccessRights" IsFlags="true"><Member Name="None" Value="0" /><Member Name="ReadAccess" Value="1" /><Member Name="WriteAccess" Value="2" /><Member Name="AppendAccess" Value="4" /><Member Name="AppendToAccess" Value="16" /><Member Name="CreateAccess" Value="32" /><Member Name="DeleteAccess" Value="65536" /><Member Name="ShareAccess" Value="262144" /><Member Name="AssignAccess" Value="524288" /></EnumType>` +
	`<EnumType Name="DeletedMetadataFilters" IsFlags="true"><Member Name="Default" Value="1" /><Member Name="Entity" Value="1" /><Member Name="Attribute" Value="2" /><Member Name="Relationship" Value="4" /><Member Name="Label" Value="8" /><Member Name="OptionSet" Value="16" /><Member Name="All" Value="31" /></EnumType>`

// knows reports whether the schema has the tables that an operation speaks of.
func (w *csdl) knows(o csdlOperation) bool {
	for item := range strings.SplitSeq(o.parameters, ",") {
		_, typ, _ := strings.Cut(item, " ")
		name, ours := strings.CutPrefix(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(typ, "Collection("), "?"), ")"), "mscrm.")
		if ours && name != "crmbaseentity" && strings.ToLower(name) == name && w.m.byName[name] == nil {
			return false
		}
	}
	return true
}

func (w *csdl) operations() {
	w.b.WriteString(csdlTypes)
	for _, o := range csdlOperations {
		if w.knows(o) {
			w.operation(o, "")
		}
	}
	for _, t := range w.m.tables {
		for _, b := range []struct{ action, name, result string }{
			{"create", "CreateMultiple", "Ids Collection(Edm.Guid)"}, {"update", "UpdateMultiple", ""},
			{"upsert", "UpsertMultiple", ""}, {"delete", "DeleteMultiple", ""},
		} {
			if t.canBulk(b.action) {
				of := "Collection(mscrm." + t.LogicalName + ")"
				w.operation(csdlOperation{"Action", b.name, true, "entityset " + of + ",Targets " + of, b.result}, t.LogicalName)
			}
		}
	}
}
