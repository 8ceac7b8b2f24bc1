package sample

// Texts that rows are made of. Those of companies fit windows-1252.

var owners = []string{"AKELLER", "BNOVAK", "CDUPONT", "DSILVA", "EOLSEN", "FROSSI", "INNENDIENST", "HMEIER", "JSCHULZ", ""}

var companyNames = []string{"Nordwind", "Müller & Söhne", "Alpenstahl", "Café Größenwahn", "Bäckerei Weiß", "Contoso", "Fabrikam", "Škoda-Werkstatt Žák", "Brøndby Shipping",
	"Château d'Été", "Peñalosa Vinos", "Löwen-Apotheke", "Hansa Spedition", "Rhein-Neckar Elektro", "Adatum", "Trey Research", "Wide World Importers", "Übersee Kontor",
	"Dr. Schröder – Labortechnik", "Gärtnerei Flöter", "Tailspin Toys", "Zürichsee Optik", "Fjällräven Handel", "O’Malley & Daughters", "Isar Pumpen", "Humboldt Druck"}

var companyForms = []string{"GmbH", "AG", "GmbH & Co. KG", "Ltd.", "S.A.", "e.K.", "Inc.", "AB", "", ""}

var branches = []string{"Maschinenbau", "Großhandel", "Einzelhandel", "Spedition", "Bank", "Versicherung", "Beratung", "Lebensmittel", "Gastronomie", "Arztpraxis", "Druck & Medien", "Energie", "Recht", "Buchhaltung", ""}

var streets = []string{"Hauptstraße", "Bahnhofstraße", "Am Mühlbach", "Königsallee", "Rue de l'Église", "Storgatan", "Calle Mayor", "High Street", "Gewerbepark", "Lange Reihe"}

type town struct{ name, zip, country, dial string }

var towns = []town{{"München", "80331", "DE", "89"}, {"Köln", "50667", "DE", "221"}, {"Hamburg", "20095", "DE", "40"}, {"Leipzig", "04109", "DE", "341"}, {"Görlitz", "02826", "DE", "3581"},
	{"Saarbrücken", "66111", "DE", "681"}, {"Wien", "1010", "AT", "1"}, {"Zürich", "8001", "CH", "44"}, {"Malmö", "211 20", "SE", "40"}, {"Lyon", "69002", "FR", "4"}, {"Málaga", "29001", "ES", "95"}, {"Boston", "02108", "US", "617"}}

var dialCodes = map[string]string{"DE": "+49", "AT": "+43", "CH": "+41", "SE": "+46", "FR": "+33", "ES": "+34", "US": "+1"}

var companyNotes = []string{"", "", "", "Rechnung nur per Post", "Skonto 2 % – bitte beachten; siehe Vertrag", "Altkunde aus \"Zentral-CRM\"", "Kreditlimit 50.000 € geprüft"}

type name struct{ text, ascii string }

var firstNames = []name{{"Anna", "anna"}, {"Jürgen", "juergen"}, {"Zoë", "zoe"}, {"Søren", "soren"}, {"Łukasz", "lukasz"}, {"Aïcha", "aicha"}, {"José", "jose"}, {"Олена", "olena"}, {"健太", "kenta"},
	{"Marie-Claire", "marie"}, {"Thomas", "thomas"}, {"Şebnem", "sebnem"}, {"Björk", "bjork"}, {"Dimitra", "dimitra"}, {"Nguyễn", "nguyen"}, {"Paul", "paul"}, {"Ayşe", "ayse"}, {"Mehmet", "mehmet"}}

var lastNames = []name{{"Müller", "mueller"}, {"O'Neill", "oneill"}, {"Nowak", "nowak"}, {"Dvořák", "dvorak"}, {"Ångström", "angstrom"}, {"de la Cruz", "delacruz"}, {"Шевченко", "shevchenko"}, {"佐藤", "sato"},
	{"Schäfer", "schaefer"}, {"van den Berg", "vandenberg"}, {"Yılmaz", "yilmaz"}, {"Papadópoulos", "papadopoulos"}, {"Weiß", "weiss"}, {"Smith", "smith"}, {"Trần", "tran"}, {"Jensen", "jensen"}}

var positions = []string{"Geschäftsführer", "Einkauf", "Head of Sales", "Ingénieur", "Assistenz", "CFO", "Plant manager", ""}

var departments = []string{"Einkauf", "Vertrieb", "IT", "R&D", "Finance", "Production", ""}

var personNotes = []string{"", "", "", "", "Prefers calls before 10:00, never on Friday", "said: \"call me back\", twice", "Met at fair\nCard in drawer 3, \"blue\" box", "Spricht Deutsch, English, français"}

var channels = []string{"mail", "phone", "post", "fax", "any", ""}

var topics = []string{"New pump line", "Wartungsvertrag, 3 Jahre", "Spare parts", "Ersatz für Altanlage", "Rental fleet", "Nouveau site à Lyon", "Retrofit \"Line 4\"", "Schulung"}

var leadSources = []string{"Web", "Fair", "Referral", "Advert", "Partner", "Seminar", "?"}

var needs = []string{"must", "should", "nice", "none", ""}

var suppliers = []string{"Alpenstahl AG", "Fabrikam, Inc.", "Isar Pumpen", ""}

var articleNames = []string{"Pump", "Valve, brass", "Filter 5\"", "Hydraulikschlauch", "Control unit", "Service hour", "Motor", "Dichtungssatz"}

var machineNames = []string{"Kreiselpumpe", "Forklift", "Prüfstand", "Kompressor", "Drill", "Rührwerk", "Conveyor", "Laser"}

var machineFeatures = []string{"", "GPS", "GPS+Remote", "Heated", "GPS+Heated+Telemetry", "Offline", "Remote+Telemetry"}

var machineRemarks = []string{"", "", "Seal leaks; watch", "Überholt 2021", "Operator asked for a second \"key\""}

var subjects = []string{"Call back", "Angebot nachfassen", "Send contract", "Termin vor Ort", "Réclamation", "Check the \\ stock", "Prepare \"kick-off\""}

var taskTexts = []string{"", "", "Bitte bis Monatsende.", "Asked for a discount of 5 %\nno promise made", "tab\tin text"}
