/* limits.h - every bound on what a file or a caller may ask for. All are far above real models; see
 * docs/SECURITY.md. */
#ifndef WEFT_BASE_LIMITS_H
#define WEFT_BASE_LIMITS_H

#define WEFT_MAX_NAME_BYTES         4096u       /* of a node, value or operator name */
#define WEFT_MAX_STRING_BYTES       (16u << 20) /* of a metadata or attribute string */
#define WEFT_MAX_NODES              (1u << 17)  /* in a model, functions inlined */
#define WEFT_MAX_VALUES             (1u << 19)
#define WEFT_MAX_INITIALIZERS       (1u << 17)
#define WEFT_MAX_NODE_INPUTS        (1u << 12) /* and outputs */
#define WEFT_MAX_ATTRIBUTES         256u       /* of one node */
#define WEFT_MAX_ATTRIBUTE_ELEMENTS (1u << 22)
#define WEFT_MAX_METADATA           (1u << 16)
#define WEFT_MAX_OPSETS             256u /* operator sets that a model or function imports */
#define WEFT_MAX_EXTERNAL_ENTRIES   16u  /* keys that say where a tensor's external data lies */
#define WEFT_MAX_DIMS               64u  /* read from a file; WEFT_RANK_MAX of them can be used */
#define WEFT_MAX_MESSAGE_DEPTH      64u  /* nested protobuf messages */
#define WEFT_MAX_SUBGRAPH_DEPTH     8u
#define WEFT_MAX_FUNCTION_DEPTH     16u          /* nested calls while inlining */
#define WEFT_MAX_LOWERING_BYTES     (256u << 20) /* of working memory while a graph is lowered */
#define WEFT_MAX_FUNCTIONS          (1u << 12)
#define WEFT_MAX_ELEMENTS           (1ull << 40) /* of a tensor */
#define WEFT_MAX_INLINE_BYTES       (64u << 20)  /* of one tensor decoded element by element */
#define WEFT_MAX_HOST_ELEMENTS      1024u /* of a tensor followed by value in shape arithmetic */
#define WEFT_MAX_SYMBOLS            (1u << 16) /* named and anonymous dimensions */
#define WEFT_MAX_PLANS              8u         /* input shape signatures kept per session */

/* Tokenizers. */
#define WEFT_MAX_JSON_DEPTH        64u         /* nested values; one bit for each in weft_json */
#define WEFT_MAX_TOKEN_ID          0x7FFFFFFEu /* ids fit int32 tensors */
#define WEFT_MAX_WORD_CHARS        1024u       /* the longest word that is cut into pieces */
#define WEFT_MAX_ADDED_TOKEN_BYTES 512u
#define WEFT_MAX_TEMPLATE_PIECES   64u /* a model's template has 3 or 5 */

#endif
