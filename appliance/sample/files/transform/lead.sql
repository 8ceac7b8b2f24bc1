-- Leads. The qualified ones point to the company and the person they became.
SELECT
  l.LeadNo                                                    AS legacy_key,
  l.Topic                                                     AS subject,
  l.FirstName                                                 AS firstname,
  l.LastName                                                  AS lastname,
  l.Company                                                   AS companyname,
  l.Email                                                     AS emailaddress1,
  l.Phone                                                     AS telephone1,
  CASE l.Source WHEN 'Advert' THEN 1 WHEN 'Referral' THEN 3 WHEN 'Partner' THEN 4 WHEN 'Seminar' THEN 6
                WHEN 'Fair' THEN 7 WHEN 'Web' THEN 8 ELSE 10 END AS leadsourcecode,
  l.Rating                                                    AS leadqualitycode,
  l.Employees                                                 AS numberofemployees,
  l.Budget                                                    AS budgetamount,
  existing('transactioncurrency', cur.id)                     AS transactioncurrencyid,
  l.CloseDate                                                 AS estimatedclosedate,
  l.CustomerNo                                                AS parentaccountid,
  l.PersonNo                                                  AS parentcontactid,
  CASE u.target
    WHEN 'systemuser' THEN existing('systemuser', u.id)
    WHEN 'team' THEN existing('team', u.id)
    ELSE existing('team', 'b0000000-0000-4000-8000-000000000011')
  END                                                         AS ownerid,
  l.Created                                                   AS overriddencreatedon,
  s.state                                                     AS statecode,
  s.status                                                    AS statuscode
FROM leads l
LEFT JOIN map_currency cur ON cur.iso = l.Currency
LEFT JOIN map_user u       ON u.login = l.Owner
-- A small map may stand in the SQL.
LEFT JOIN (VALUES ('new', 0, 1), ('contacted', 0, 2), ('qualified', 1, 3), ('lost', 2, 4),
                  ('no answer', 2, 5), ('no interest', 2, 6), ('void', 2, 7)) s (text, state, status) ON s.text = l.Status
