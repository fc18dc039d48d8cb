# frozen_string_literal: true

module OrderFulfilment
  # What the generated orders are made of: an invented shop's products and invented customers, in many scripts.
  module Catalogue
    # Name, price in cents.
    PRODUCTS = [
      ["Oak Writing Desk", 42_900], ["Brass Reading Lamp", 7_950], ["Linen Notebook A5", 1_290],
      ["Fountain Pen", 3_480], ["Crème de marrons 250 g", 645], ["Jabón de azahar", 480], ["Blåbärssylt", 559],
      ["Käsebrett aus Kirschholz", 3_875], ["Zirbenkissen", 2_240], ["Pão de mel", 310], ["Gözleme tavası", 2_999],
      ["Hořčice s medem", 275], ["Żurek w słoiku", 419], ["Μέλι θυμαριού", 1_185], ["Самовар электрический", 18_900],
      ["Вышитое полотенце", 2_460], ["ჩურჩხელა", 365], ["Լավաշ", 220], ["زعفران ۱ گرم", 1_099], ["قهوة بالهيل", 870],
      ["קומקום תה", 4_320], ["मसाला चाय", 690], ["மண் பானை", 1_575], ["ผ้าไหมไทย", 8_640], ["抹茶茶碗", 5_420],
      ["手漉き和紙", 1_830], ["龙井茶", 2_775], ["한지 등", 6_150], ["የቡና ስኒ", 940], ["Bánh đa nem", 235],
      ["Kahawa ya Kilimanjaro", 1_360], ["Drawer Pull “Nº 7”", 83], ["O'Neill's Boot Wax", 725],
      ["Paper Clips (100)", 99], ["Ink 🖋 Midnight", 1_105]
    ].freeze

    # Company, contact, street, city, region, postal code, country.
    CUSTOMERS = [
      ["Atelier Beauséjour", "Maëlle Crépin", "12, rue des Tanneurs", "Nîmes", nil, "30000", "France"],
      ["Grünwald & Söhne", "Jörg Weißenböck", "Schlossgäßchen 3", "Köln", nil, "50667", "Germany"],
      ["Librería Ñandú", "Íñigo Peñalba", "Calle del Águila 41", "Logroño", "La Rioja", "26001", "Spain"],
      ["Café Ipê Amarelo", "Conceição Brandão", "Rua São João, 88", "Goiânia", "GO", "74000-010", "Brazil"],
      ["Kaffehuset Ærø", "Søren Østergård", "Strandgade 9", "Ærøskøbing", nil, "5970", "Denmark"],
      ["Þingvellir Handverk", "Guðrún Þórðardóttir", "Laugavegur 77", "Reykjavík", nil, "101", "Iceland"],
      ["Antikvariát Růže", "Ondřej Šťastný", "Žižkova 15", "České Budějovice", nil, "370 01", "Czechia"],
      ["Księgarnia Żółw", "Świętosława Łącka", "ul. Źródlana 6", "Łódź", nil, "90-001", "Poland"],
      ["Kézműves Műhely", "Győző Űrhegyi", "Árpád út 22", "Győr", nil, "9021", "Hungary"],
      ["Çınar Kırtasiye", "Gülşen Öztürk", "İstiklal Cd. 130", "İzmir", nil, "35000", "Türkiye"],
      ["Ελαιώνας Παπαδάκη", "Ευγενία Παπαδάκη", "Οδός Ερμού 5", "Ηράκλειο", "Κρήτη", "712 01", "Greece"],
      ["Книжкова Хата", "Олеся Їжакевич", "вул. Садова, 14", "Львів", nil, "79000", "Ukraine"],
      ["Чайная «Ёлка»", "Фёдор Щукин", "наб. Реки, 31", "Алматы", nil, "050000", "Kazakhstan"],
      ["მთის სახლი", "ნინო ბერიძე", "რუსთაველის 8", "თბილისი", nil, "0108", "Georgia"],
      ["Արարատ Գրատուն", "Անահիտ Սարգսյան", "Աբովյան 20", "Երևան", nil, "0001", "Armenia"],
      ["مكتبة الياسمين", "ليلى الحداد", "شارع الزيتون ٧", "عمّان", nil, "11118", "Jordan"],
      ["חנות הזית", "נועה בן־ארי", "רחוב הגפן 4", "חיפה", nil, "3303141", "Israel"],
      ["चाँदनी हस्तशिल्प", "आरती देशपांडे", "गुलमोहर मार्ग १२", "जयपुर", "राजस्थान", "302001", "India"],
      ["தாமரை அங்காடி", "கயல்விழி முருகன்", "கடற்கரைச் சாலை 3", "மதுரை", "தமிழ்நாடு", "625001", "India"],
      ["ร้านดอกบัว", "สมหญิง ใจดี", "ถนนสายน้ำ 45", "เชียงใหม่", nil, "50000", "Thailand"],
      ["雨宿り文具店", "小鳥遊 さくら", "桜坂二丁目7番", "金沢市", "石川県", "920-0001", "Japan"],
      %w[云山茶舍 欧阳晓雪 梧桐路18号 杭州 浙江 310000 China],
      ["달빛공방", "남궁하늘", "은행나무길 24", "전주시", "전라북도", "54999", "South Korea"],
      ["አዲስ ቡና ቤት", "ሰላም ተስፋዬ", "የጽጌረዳ መንገድ 2", "አዲስ አበባ", nil, "1000", "Ethiopia"],
      ["Tiệm Giấy Hoa Sữa", "Nguyễn Thị Ánh Tuyết", "Phố Hàng Mành 10", "Huế", nil, "49000", "Vietnam"],
      ["Duka la Baobab", "Neema Mwakasege", "Barabara ya Uhuru 17", "Arusha", nil, nil, "Tanzania"],
      ["Taigh nan Leabhar", "Mòrag NicDhòmhnaill", "Sràid a' Chidhe 1", "Steòrnabhagh", nil, "HS1 2XX", "UK"],
      ["The Quiet Stationer", "Zoë O'Brien-Smythe", "1½ Mill Lane", "Bath", "Somerset", "BA1 1AA", "UK"],
      ["Prairie Paper & Co.", "Jean-Luc Tremblay", "400 5th Ave W", "Calgary", "AB", "T2P 0L4", "Canada"],
      ["Crow's Nest Outfitters", "Dakota Reyes", "77 Juniper St", "Taos", "NM", "87571", "USA"]
    ].freeze

    CARRIERS = ["Nordwind Express", "Caravane Postale", "Blue Heron Freight"].freeze
  end
end
