-- People, from two files.
SELECT
  p.PersonNo                                                  AS legacy_key,
  p.Salutation                                                AS salutation,
  p.FirstName                                                 AS firstname,
  p.LastName                                                  AS lastname,
  p.BirthDate                                                 AS birthdate,
  CASE p.Gender WHEN 'm' THEN 1 WHEN 'w' THEN 2 END           AS gendercode,
  -- A customer column may point to two tables: ref says which.
  CASE WHEN p.CompanyNo IS NOT NULL THEN ref('account', p.CompanyNo)
       ELSE ref('contact', p.ReportsTo) END                   AS parentcustomerid,
  p.Position                                                  AS jobtitle,
  p.Department                                                AS department,
  p.Email                                                     AS emailaddress1,
  p.Phone                                                     AS telephone1,
  p.Mobile                                                    AS mobilephone,
  p.Street                                                    AS address1_line1,
  p.Zip                                                       AS address1_postalcode,
  p.City                                                      AS address1_city,
  p.Country                                                   AS address1_country,
  CASE p.Channel WHEN 'mail' THEN 2 WHEN 'phone' THEN 3 WHEN 'fax' THEN 4 WHEN 'post' THEN 5 ELSE 1 END AS preferredcontactmethodcode,
  p.NoMailing = '1'                                           AS donotbulkemail,
  p.Income                                                    AS annualincome,
  existing('transactioncurrency', cur.id)                     AS transactioncurrencyid,
  p.Notes                                                     AS description,
  CASE u.target
    WHEN 'systemuser' THEN existing('systemuser', u.id)
    WHEN 'team' THEN existing('team', u.id)
    ELSE existing('team', 'b0000000-0000-4000-8000-000000000011')
  END                                                         AS ownerid,
  p.Created                                                   AS overriddencreatedon,
  CASE p.Active WHEN '0' THEN 1 ELSE 0 END                    AS statecode,
  CASE p.Active WHEN '0' THEN 2 ELSE 1 END                    AS statuscode
FROM contacts p
LEFT JOIN map_currency cur ON cur.iso = p.Currency
LEFT JOIN map_user u       ON u.login = p.Owner
